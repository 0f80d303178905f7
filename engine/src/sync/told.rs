//! What a plugin that goes by changes was told of a conflict beside rows, as the journal keeps it: a JSON object, by which the
//! conflict can be put together again (`replay.rs`).
//!
//! - `columns`: the names of the recorded columns. Wherever else values stand, these are of these columns, in this order.
//! - `versions`, in the plugin's order: each with its `node`, `time` and the values of its `row`, or null if it is deleted. `lost` is
//!   true where the journal has the row itself; the others are what the row became, but for these values.
//! - `latest` and `start`: places of versions.
//! - `base`: values, or null.
//! - `changes`: each with its `node`, `time`, the values `before` and `after`, or null, and the places of the versions that have
//!   `seen` it.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value as Document;

use super::table::Table;
use crate::model::{KeyValue, Row, Type, Value, key_value_from_json};
use crate::plugin::Dispute;

/// What was told. `R` is what stands for the recorded columns of a row.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Told<'a, R> {
    pub columns: Vec<Cow<'a, str>>,
    pub versions: Vec<Version<'a, R>>,
    pub latest: usize,
    pub start: usize,
    pub base: Option<R>,
    pub changes: Vec<Change<'a, R>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Version<'a, R> {
    pub node: Cow<'a, str>,
    pub time: i64,
    pub row: Option<R>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Change<'a, R> {
    pub node: Cow<'a, str>,
    pub time: i64,
    pub before: Option<R>,
    pub after: Option<R>,
    pub seen: Cow<'a, [usize]>,
}

/// Values with the types of their columns.
struct Cells<'a>(Vec<(&'a Type, &'a Value)>);

impl<'a> Cells<'a> {
    /// Of the recorded columns of a table.
    fn of(table: &'a Table, values: impl Iterator<Item = &'a Value>) -> Cells<'a> {
        let types = table.policy.recorded().iter().map(|&column| &table.columns[column].ty);
        Cells(types.zip(values).collect())
    }
}

impl Serialize for Cells<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(|&(ty, value)| KeyValue(ty, value)))
    }
}

/// What is larger is not kept, in bytes of values: an entry has to fit into one statement everywhere, and changes may be many.
const MOST: usize = 1 << 20;

/// What the plugin of a table was told; `lost` says of which versions, by their places, the journal keeps the row. `None` if that is
/// too much to keep.
pub(super) fn write(table: &Table, dispute: &Dispute<'_>, lost: impl Fn(usize) -> bool) -> Option<Arc<str>> {
    let recorded = table.policy.recorded();
    let image = |row: Option<&Row>| 32 + row.map_or(0, |row| row.iter().map(Value::weight).sum::<usize>());
    let own = |row: Option<&Row>| 32 + row.map_or(0, |row| recorded.iter().map(|&at| row[at].weight()).sum::<usize>());
    let versions = dispute.versions.iter().map(|side| own(side.row));
    let changes = dispute.changes.iter().map(|change| image(change.before) + image(change.after));
    if versions.chain(changes).sum::<usize>() > MOST {
        return None;
    }
    let versions = dispute.versions.iter().enumerate().map(|(at, side)| Version {
        node: Cow::Borrowed(side.node),
        time: side.time,
        row: side.row.map(|row| Cells::of(table, recorded.iter().map(move |&column| &row[column]))),
        lost: lost(at),
    });
    let changes = dispute.changes.iter().map(|change| Change {
        node: Cow::Borrowed(change.node),
        time: change.time,
        before: change.before.map(|row| Cells::of(table, row.iter())),
        after: change.after.map(|row| Cells::of(table, row.iter())),
        seen: Cow::Borrowed(&change.seen_by[..]),
    });
    let told = Told {
        columns: recorded.iter().map(|&column| Cow::Borrowed(table.columns[column].name.as_str())).collect(),
        versions: versions.collect(),
        latest: dispute.latest,
        start: dispute.start,
        base: dispute.base.as_ref().map(|row| Cells::of(table, row.iter())),
        changes: changes.collect(),
    };
    match serde_json::to_string(&told) {
        Ok(text) => (text.len() <= 2 * MOST).then(|| text.into()),
        Err(error) => unreachable!("no value is without a JSON form: {error}"),
    }
}

/// The inverse of [`write`]; `None` if the text is none of it. What it tells of columns that the table does not have any more is NULL.
pub(super) fn read(table: &Table, text: &str) -> Option<Told<'static, Row>> {
    let told: Told<'static, Vec<Document>> = serde_json::from_str(text).ok()?;
    let column = |name: &Cow<'_, str>| table.columns.iter().find(|column| column.name == **name);
    let types: Vec<Option<&Type>> = told.columns.iter().map(|name| column(name).map(|column| &column.ty)).collect();
    let cell = |(ty, cell): (&Option<&Type>, &Document)| match ty {
        Some(ty) => key_value_from_json(ty, cell),
        None => Some(Value::Null),
    };
    let row = |cells: Option<Vec<Document>>| -> Option<Option<Row>> {
        let Some(cells) = cells else { return Some(None) };
        if cells.len() != types.len() {
            return None;
        }
        types.iter().zip(&cells).map(cell).collect::<Option<Row>>().map(Some)
    };
    let version = |Version { node, time, row: cells, lost }: Version<'static, Vec<Document>>| {
        Some(Version { node, time, row: row(cells)?, lost })
    };
    let change = |Change { node, time, before, after, seen }: Change<'static, Vec<Document>>| {
        Some(Change { node, time, before: row(before)?, after: row(after)?, seen })
    };
    let count = told.versions.len();
    let is_there = |place: &usize| *place < count;
    let seen = told.changes.iter().all(|change| change.seen.iter().all(is_there));
    if count < 2 || !seen || ![told.latest, told.start].iter().all(is_there) {
        return None;
    }
    Some(Told {
        versions: told.versions.into_iter().map(version).collect::<Option<_>>()?,
        latest: told.latest,
        start: told.start,
        base: row(told.base)?,
        changes: told.changes.into_iter().map(change).collect::<Option<_>>()?,
        columns: told.columns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Policy;
    use crate::model::{Decimal, Json, Key};
    use crate::plugin::{self, Side};
    use proptest::prelude::*;

    static TYPES: [(&str, Type); 13] = [
        ("a", Type::Bool),
        ("b", Type::Int),
        ("c", Type::Float),
        ("d", Type::Decimal),
        ("e", Type::Text),
        ("f", Type::Bytes),
        ("g", Type::Date),
        ("h", Type::Time),
        ("i", Type::Timestamp),
        ("j", Type::Instant),
        ("k", Type::Json),
        ("l", Type::Uuid),
        ("m", Type::Any),
    ];

    /// A table with a column of each type, of which the last is recorded first and the key not at all.
    fn table() -> Table {
        let columns: Vec<(&str, Type)> = [("id", Type::Int)].into_iter().chain(TYPES.iter().cloned()).collect();
        let recorded = (1..columns.len()).rev().collect();
        Table { policy: Policy::Asked { recorded }, ..Table::bare(&columns, Vec::new()) }
    }

    /// What a value is made of.
    type Seed = (u8, i64, u64, String, Vec<u8>);

    /// A value of a column, which may hold NULL, and of another type what SQLite lets it hold.
    fn value(ty: &Type, (kind, number, bits, text, bytes): &Seed) -> Value {
        let below = |end: i64| number.rem_euclid(end);
        match (ty, kind % 6) {
            (_, 0) => Value::Null,
            (_, 1) => Value::text(text.as_str()),
            (_, 2) | (Type::Bytes, _) => Value::Bytes(bytes.clone().into()),
            (Type::Bool, _) => Value::Bool(number % 2 == 0),
            (Type::Int, _) => Value::Int(*number),
            (Type::Float, _) => Value::Float(f64::from_bits(*bits)),
            (Type::Decimal, _) => Value::Decimal(Decimal::from_unscaled((*number).into(), 3)),
            (Type::Text | Type::Native(_), _) => Value::text(text.as_str()),
            (Type::Date, _) => Value::Date(below(1_000_000) as i32),
            (Type::Time, _) => Value::Time(below(86_400_000_000)),
            (Type::Timestamp, _) => Value::Timestamp(below(1_000_000_000_000_000)),
            (Type::Instant, _) => Value::Instant(below(1_000_000_000_000_000)),
            (Type::Json, _) => Value::Json(Json::new(format!("[ {number} ]"))),
            (Type::Uuid, _) => Value::Uuid((u128::from(*bits) << 64 | 7).to_be_bytes()),
            (Type::Any, _) => Value::Uint(bits | 1 << 63),
        }
    }

    fn side() -> impl Strategy<Value = Option<Vec<Seed>>> {
        let seed = (any::<u8>(), any::<i64>(), any::<u64>(), ".*", prop::collection::vec(any::<u8>(), 0..9));
        prop::option::of(prop::collection::vec(seed, TYPES.len()))
    }

    /// A row of the table.
    fn whole(seeds: &Option<Vec<Seed>>) -> Option<Row> {
        let values = seeds.as_ref()?.iter().zip(TYPES.iter()).map(|(seed, (_, ty))| value(ty, seed));
        Some([Value::Int(1)].into_iter().chain(values).collect())
    }

    /// Its recorded columns.
    fn recorded(row: Option<&Row>) -> Option<Row> {
        row.map(|row| row.iter().skip(1).rev().cloned().collect())
    }

    proptest! {
        #[test]
        fn what_was_told_is_read_back(
            versions in prop::collection::vec((side(), any::<i64>(), any::<bool>()), 2..4),
            base in side(),
            changes in prop::collection::vec((side(), side(), any::<i64>(), prop::collection::vec(0..2usize, 0..3)), 0..3),
            start in 0..2usize,
        ) {
            let (table, key) = (table(), Key::from([Value::Int(1)]));
            let rows: Vec<Option<Row>> = versions.iter().map(|(seeds, ..)| whole(seeds)).collect();
            let image = |seeds: &Option<Vec<Seed>>| recorded(whole(seeds).as_ref());
            let images: Vec<[Option<Row>; 2]> =
                changes.iter().map(|(before, after, ..)| [image(before), image(after)]).collect();
            let sides = versions.iter().zip(&rows);
            let dispute = Dispute {
                key: &key,
                versions: sides
                    .map(|((_, time, _), row)| Side { node: "ä\"", time: *time, row: row.as_ref() })
                    .collect(),
                latest: 1,
                start,
                base: image(&base),
                changes: changes.iter().zip(&images).map(|((.., time, seen), [before, after])| plugin::Change {
                    node: "b",
                    time: *time,
                    before: before.as_ref(),
                    after: after.as_ref(),
                    seen_by: seen.clone(),
                }).collect(),
            };
            let text = write(&table, &dispute, |at| versions[at].2).expect("little is told");
            let expected = Told {
                columns: TYPES.iter().rev().map(|(name, _)| Cow::Borrowed(*name)).collect(),
                versions: versions.iter().zip(&rows).map(|((_, time, lost), row)| Version {
                    node: "ä\"".into(),
                    time: *time,
                    row: recorded(row.as_ref()),
                    lost: *lost,
                }).collect(),
                latest: 1,
                start,
                base: image(&base),
                changes: changes.iter().zip(&images).map(|((.., time, seen), [before, after])| Change {
                    node: "b".into(),
                    time: *time,
                    before: before.clone(),
                    after: after.clone(),
                    seen: Cow::Owned(seen.clone()),
                }).collect(),
            };
            prop_assert_eq!(read(&table, &text), Some(expected), "{}", text);
        }
    }

    const TEXT: &str = concat!(
        r#"{"columns":["b","gone"],"versions":[{"node":"a","time":1,"row":[5,"x"],"lost":true},"#,
        r#"{"node":"b","time":2,"row":null}],"latest":1,"start":0,"base":null,"#,
        r#""changes":[{"node":"a","time":1,"before":[4,null],"after":[5,"x"],"seen":[0]}]}"#
    );

    /// Journals are read by later builds.
    #[test]
    fn the_text_stays_what_it_is() {
        let columns = [("id", Type::Int), ("b", Type::Int), ("gone", Type::Text)];
        let table = Table { policy: Policy::Asked { recorded: vec![1, 2] }, ..Table::bare(&columns, Vec::new()) };
        let (key, row) = (Key::from([Value::Int(1)]), Row::from([Value::Int(1), Value::Int(5), Value::text("x")]));
        let (before, after) = (Row::from([Value::Int(4), Value::Null]), Row::from([Value::Int(5), Value::text("x")]));
        let dispute = Dispute {
            key: &key,
            versions: vec![Side { node: "a", time: 1, row: Some(&row) }, Side { node: "b", time: 2, row: None }],
            latest: 1,
            start: 0,
            base: None,
            changes: vec![plugin::Change {
                node: "a",
                time: 1,
                before: Some(&before),
                after: Some(&after),
                seen_by: vec![0],
            }],
        };
        assert_eq!(write(&table, &dispute, |at| at == 0).as_deref(), Some(TEXT));
        // What would not fit beside rows is not kept.
        let long = Row::from([Value::Int(5), Value::text("x".repeat(MOST))]);
        let mut heavy = dispute.clone();
        heavy.changes[0].after = Some(&long);
        assert_eq!(write(&table, &heavy, |at| at == 0), None);
        let many = Dispute { changes: vec![dispute.changes[0].clone(); MOST / 64], ..dispute };
        assert_eq!(write(&table, &many, |at| at == 0), None);
    }

    #[test]
    fn of_columns_that_are_gone_nothing_is_told() {
        let told = read(&table(), TEXT).expect("it is read");
        assert_eq!(told.columns, ["b", "gone"]);
        assert_eq!(told.versions[0].row, Some(Row::from([Value::Int(5), Value::Null])));
        assert_eq!((&told.versions[1].row, told.versions[1].lost), (&None, false));
    }

    #[test]
    fn what_is_damaged_is_not_read() {
        let table = table();
        assert!(read(&table, TEXT).is_some());
        for (part, other) in [
            ("{\"columns\"", "{\"column\""),
            ("[5,\"x\"],\"lost\"", "[5],\"lost\""),
            ("[5,\"x\"],\"lost\"", "[true,\"x\"],\"lost\""),
            ("\"latest\":1", "\"latest\":2"),
            ("\"start\":0", "\"start\":-1"),
            ("\"seen\":[0]", "\"seen\":[7]"),
            ("\"base\":null", "\"base\":[]"),
            (",{\"node\":\"b\",\"time\":2,\"row\":null}],\"latest\":1", "],\"latest\":0"),
            ("}]}", ""),
        ] {
            let text = TEXT.replacen(part, other, 1);
            assert_ne!(text, TEXT, "{part} is in it");
            assert_eq!(read(&table, &text), None, "{text}");
        }
    }
}
