//! Rows as Concord's own tables keep them: by the names of their columns, since the table may have others when they are read.

use std::sync::Arc;

use serde_json::Value as Document;

use super::change::{Parked, ParkedCode, Waiting};
use super::domain::Type;
use super::json::{value_from_json, write_value};
use super::table::TableSpec;
use super::value::{Row, Value};

/// A row that was kept, in the columns of today.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptRow {
    pub row: Row,
    /// The columns of which it does not tell: they were not known then, or came later. NULL in the row.
    pub unknown: Vec<usize>,
    /// Whether it tells of columns that are no longer there.
    pub told_more: bool,
}

impl KeptRow {
    /// The row and what it does not tell, for [`Lost`](super::Lost).
    pub fn parts(kept: Option<KeptRow>) -> (Option<Arc<Row>>, Vec<usize>) {
        match kept {
            Some(kept) => (Some(Arc::new(kept.row)), kept.unknown),
            None => (None, Vec::new()),
        }
    }
}

impl TableSpec {
    /// A row in the shared shape as a JSON object, without the columns in `unknown`.
    pub fn keep(&self, row: &[Value], unknown: &[usize]) -> String {
        let mut out = Vec::new();
        self.keep_into(row, unknown, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The same of what waits; `None` if it is no row, or one that was not read.
    pub fn keep_waiting(&self, content: &Waiting) -> Option<String> {
        match content {
            Waiting::Row { row, unknown } => Some(self.keep(row, unknown)),
            Waiting::Delete | Waiting::Unread => None,
        }
    }

    /// Appends what [`keep`](Self::keep) tells.
    pub fn keep_into(&self, row: &[Value], unknown: &[usize], out: &mut Vec<u8>) {
        out.push(b'{');
        let mut separator = false;
        for (place, ((name, _), value)) in self.layout.iter().zip(row).enumerate() {
            if unknown.contains(&place) {
                continue;
            }
            if std::mem::replace(&mut separator, true) {
                out.push(b',');
            }
            if let Err(error) = serde_json::to_writer(&mut *out, name) {
                unreachable!("no text is without a JSON form: {error}");
            }
            out.push(b':');
            write_value(value, out);
        }
        out.push(b'}');
    }

    /// The inverse of [`keep`](Self::keep); `None` if the text is no row.
    pub fn kept(&self, text: &str) -> Option<KeptRow> {
        // Its type may have been another then.
        let value = |ty, cell| value_from_json(ty, cell).or_else(|| value_from_json(&Type::Any, cell));
        match serde_json::from_str(text).ok()? {
            Document::Object(members) => {
                let mut unknown = Vec::new();
                let row: Row = (self.layout.iter().enumerate())
                    .map(|(place, (name, ty))| match members.get(name) {
                        Some(cell) => value(ty, cell),
                        None => {
                            unknown.push(place);
                            Some(Value::Null)
                        }
                    })
                    .collect::<Option<Row>>()?;
                let told_more = members.len() > row.len() - unknown.len();
                Some(KeptRow { row, unknown, told_more })
            }
            // As they were kept before they had names.
            Document::Array(cells) if cells.len() == self.layout.len() => {
                let types = self.layout.iter().map(|(_, ty)| ty);
                let row = types.zip(&cells).map(|(ty, cell)| value(ty, cell)).collect::<Option<Row>>()?;
                Some(KeptRow { row, unknown: Vec::new(), told_more: false })
            }
            _ => None,
        }
    }
}

impl Parked {
    /// Takes in the row that was kept with it; `None` if the text is none. Columns of which it does not tell may have lived at no
    /// node that was there then, or be younger than it: who knows where they live tells, see [`Parked::outdated`].
    pub fn with_row(mut self, spec: &TableSpec, text: Option<&str>) -> Option<Parked> {
        let Some(text) = text else { return Some(self) };
        let KeptRow { row, unknown, told_more } = spec.kept(text)?;
        self.content = Waiting::Row { row, unknown };
        Some(if told_more { self.outdated() } else { self })
    }

    /// A row of other columns than today's is no version any more: it stands for the changes that went into it, and what
    /// comes of them is found anew.
    pub fn outdated(mut self) -> Parked {
        self.code = match self.code {
            ParkedCode::Unweighed => ParkedCode::Unheard,
            code if code.is_owed() => code,
            _ => ParkedCode::Unreadable,
        };
        self.message += "; its table had other columns then, and not all that went into it is here";
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cut, NodeId, Stamp, Vector};

    fn spec(names: &[&str]) -> TableSpec {
        let layout = names.iter().map(|name| ((*name).to_owned(), Type::Any)).collect();
        TableSpec { layout, ..TableSpec::bare(0, "t", std::iter::empty()) }
    }

    fn row(values: &[&str]) -> Row {
        values.iter().map(|value| Value::text(*value)).collect()
    }

    #[test]
    fn a_row_is_read_by_the_names_of_its_columns() {
        let text = spec(&["id", "a\"b", "c"]).keep(&row(&["1", "A", "C"]), &[]);
        assert_eq!(text, r#"{"id":"1","a\"b":"A","c":"C"}"#);
        let kept = |names: &[&str]| spec(names).kept(&text).expect("a row");
        let same = KeptRow { row: row(&["C", "1", "A"]), unknown: vec![], told_more: false };
        assert_eq!(kept(&["c", "id", "a\"b"]), same);
        let mut more = row(&["1", "A", "C", ""]);
        more[3] = Value::Null;
        assert_eq!(kept(&["id", "a\"b", "c", "d"]), KeptRow { row: more, unknown: vec![3], told_more: false });
        assert_eq!(kept(&["id", "c"]), KeptRow { row: row(&["1", "C"]), unknown: vec![], told_more: true });
    }

    #[test]
    fn what_is_not_known_is_not_kept() {
        let spec = spec(&["id", "a", "b"]);
        let text = spec.keep(&row(&["1", "A", "B"]), &[1]);
        assert_eq!(text, r#"{"id":"1","b":"B"}"#);
        assert_eq!(spec.kept(&text).expect("a row").unknown, [1]);
        assert_eq!(spec.kept("{}").expect("a row").unknown, [0, 1, 2]);
        assert_eq!(spec.kept(r#"["1","A","B"]"#).expect("a row").row, row(&["1", "A", "B"]));
        for text in ["[1]", "7", "no"] {
            assert_eq!(spec.kept(text), None, "{text}");
        }
    }

    /// A row that nobody can read again holds up its node.
    #[test]
    fn far_days_are_read_again() {
        let layout = vec![("day".to_owned(), Type::Date), ("at".to_owned(), Type::Timestamp)];
        let spec = TableSpec { layout, ..TableSpec::bare(0, "t", std::iter::empty()) };
        let row: Row = [Value::Date(364_522_971), Value::Timestamp(100_000_000 * 86_400_000_000)].into();
        let text = spec.keep(&row, &[]);
        assert_eq!(text, r#"{"day":"+999999-12-31","at":"+275760-09-13 00:00:00"}"#);
        let before = r#"{"day":"364522971 days from 1970-01-01","at":"100000000 days from 1970-01-01 00:00:00"}"#;
        for text in [text.as_str(), before] {
            assert_eq!(spec.kept(text).expect("a row").row, row);
        }
    }

    #[test]
    fn what_waits_with_other_columns_is_no_version() {
        let parked = Parked {
            table: 0,
            key: row(&["1"]),
            code: ParkedCode::Constraint,
            message: "no".to_owned(),
            since: 0,
            vector: Vector::EMPTY,
            stamp: Stamp { time: 0, node: NodeId(0) },
            content: Waiting::Delete,
            standing: Vector::EMPTY,
            standing_time: 0,
            read: Cut::START,
        };
        let text = spec(&["id", "a"]).keep(&row(&["1", "A"]), &[]);
        let read = |names: &[&str]| parked.clone().with_row(&spec(names), Some(&text)).expect("a row");
        assert_eq!((read(&["a", "id"]).code, read(&["a", "id"]).message.as_str()), (ParkedCode::Constraint, "no"));
        for names in [&["id"][..], &["id", "b"]] {
            assert!(read(names).is_owed() && read(names).message.starts_with("no; "), "{names:?}");
        }
        // Of one that is not told of it is not known yet whether it was there.
        let more = read(&["id", "a", "b"]);
        assert!(
            !more.is_owed() && matches!(&more.content, Waiting::Row { unknown, .. } if *unknown == [2]),
            "{more:?}"
        );
        assert!(more.outdated().message.starts_with("no; "));
        // What that was put off for is remembered.
        let put_off = Parked { code: ParkedCode::Unweighed, ..parked.clone() };
        assert_eq!(put_off.with_row(&spec(&["id"]), Some(&text)).expect("a row").code, ParkedCode::Unheard);
        assert_eq!(parked.clone().with_row(&spec(&["id"]), None), Some(parked));
    }
}
