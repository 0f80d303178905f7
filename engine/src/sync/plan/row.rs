//! What becomes of one key at one node, as a plan's file has it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Document};

use super::file::{seal_of, waiting_text};
use crate::model::{
    Dot, Images, Key, Lost, NodeId, Op, ParkedCode, Row, Stamp, TableSpec, Type, Value, Vector, key_value_from_json,
    key_value_to_json, value_from_json, value_to_json,
};
use crate::node::apply::{Decision, Effect, Otherwise};
use crate::node::{Note, WriteMode};
use crate::sync::table::Table;

/// What becomes of one key at one node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenRow {
    pub node: String,
    pub table: String,
    pub key: Vec<Document>,
    change: Change,
    /// In the node's own names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    row: Option<Map<String, Document>>,
    /// Why it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<Why>,
    /// What waits at the node for this key already, told from other versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// What stood at the node, where nothing records what its users change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stood: Option<Stood>,
    version: WrittenVersion,
    /// As of when what stands at the node becomes a change of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    touch: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<WrittenNote>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lost: Vec<WrittenLost>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost_here: Option<WrittenLost>,
    pub seal: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Change {
    Write,
    WriteNew,
    WriteExisting,
    Delete,
    Keep,
    Wait,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stood {
    Nothing,
    /// A row that could not be read, so that nothing can be told from it.
    Unreadable,
    /// The values of the node's own columns, in their order.
    Row(Vec<Document>),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Why {
    code: String,
    message: String,
}

/// The version that the key becomes, and that waits if the node cannot take it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenVersion {
    node: String,
    time: i64,
    vector: String,
    /// In the shared names; absent if it is a delete or the same as the row that is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    row: Option<Map<String, Document>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    as_written: bool,
    /// The columns of which the row does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<String>,
    standing: String,
    /// Absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    standing_time: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenNote {
    op: Op,
    dot: String,
    vector: String,
    node: String,
    time: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    images: Option<[Option<Vec<Document>>; 2]>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLost {
    id: String,
    decided: i64,
    winner: String,
    winner_time: i64,
    winner_row: Option<Map<String, Document>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    winner_unknown: Vec<String>,
    loser: String,
    loser_time: i64,
    loser_row: Option<Map<String, Document>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    loser_unknown: Vec<String>,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<String>,
}

impl Change {
    fn writes(self) -> bool {
        !matches!(self, Change::Keep | Change::Wait)
    }
}

impl WrittenRow {
    pub(super) fn sealed(&self) -> String {
        seal_of(WrittenRow { seal: String::new(), ..self.clone() })
    }

    /// Whether it does not tell what stood, as those of an older Concord, though nothing else tells what was changed since.
    pub(super) fn lacks_what_stood(&self, spec: &TableSpec) -> bool {
        !spec.captured && self.change.writes() && self.stood.is_none()
    }
}

/// Writes and reads the decisions about one table at one node.
pub(super) struct Scribe<'a> {
    pub names: &'a [String],
    pub table: &'a Table,
    pub spec: &'a TableSpec,
}

impl Scribe<'_> {
    /// A decision as the file has it; `None` where there is no version to it, as a load makes them and no cycle.
    pub(super) fn write(&self, node: &str, decision: &Decision) -> Option<WrittenRow> {
        let name = |node: NodeId| self.names[node.index()].clone();
        let local = |row: &Row| members(self.spec.columns.iter().map(|column| column.name.as_str()), row);
        let (change, row, why) = match &decision.effect {
            Effect::Write(row, WriteMode::Upsert) => (Change::Write, Some(row), None),
            Effect::Write(row, WriteMode::InsertOnly) => (Change::WriteNew, Some(row), None),
            Effect::Write(row, WriteMode::UpdateOnly) => (Change::WriteExisting, Some(row), None),
            Effect::Delete => (Change::Delete, None, None),
            Effect::Keep => (Change::Keep, None, None),
            Effect::Park(code, message) => {
                (Change::Wait, None, Some(Why { code: code.as_str().to_owned(), message: message.clone() }))
            }
        };
        let Otherwise { vector, stamp, row: version, unknown, standing, standing_time } =
            decision.otherwise.as_ref()?;
        let is_identity = self.spec.columns.iter().enumerate().all(|(at, column)| column.shared == Some(at))
            && self.spec.columns.len() == self.table.columns.len();
        let as_written = is_identity && version.is_some() && version.as_deref() == row.map(|row| &**row);
        let mut written = WrittenRow {
            node: node.to_owned(),
            table: self.table.name.clone(),
            key: documents(self.key_types(), &decision.key),
            change,
            row: row.map(|row| local(row)),
            why,
            waits: decision.waiting.as_deref().map(|parked| waiting_text(parked, self.names)),
            stood: match &decision.upon {
                Some(None) => Some(Stood::Nothing),
                Some(Some(row)) => Some(Stood::Row(documents(self.local_types(), row))),
                None => (!self.spec.captured && change.writes()).then_some(Stood::Unreadable),
            },
            version: WrittenVersion {
                node: name(stamp.node),
                time: stamp.time,
                vector: vector.write(self.names),
                row: version.as_deref().filter(|_| !as_written).map(|row| self.shared(row)),
                as_written,
                unknown: self.columns_named(unknown),
                standing: standing.write(self.names),
                standing_time: Some(*standing_time).filter(|time| *time != i64::MIN),
            },
            touch: decision.touch,
            notes: decision.notes.iter().map(|note| self.write_note(note)).collect(),
            lost: decision.lost.iter().map(|lost| self.write_lost(lost)).collect(),
            lost_here: decision.lost_here.as_ref().map(|lost| self.write_lost(lost)),
            seal: String::new(),
        };
        written.seal = written.sealed();
        Some(written)
    }

    fn shared(&self, row: &Row) -> Map<String, Document> {
        members(self.table.columns.iter().map(|column| column.name.as_str()), row)
    }

    fn write_note(&self, note: &Note) -> WrittenNote {
        let image = |row: &Option<Row>| row.as_ref().map(|row| documents(self.image_types(), row));
        WrittenNote {
            op: note.op,
            dot: Vector::of(note.dot).write(self.names),
            vector: note.vector.write(self.names),
            node: self.names[note.stamp.node.index()].clone(),
            time: note.stamp.time,
            images: note.images.as_ref().map(|images| [image(&images.before), image(&images.after)]),
        }
    }

    fn columns_named(&self, places: &[usize]) -> Vec<String> {
        places.iter().map(|&place| self.table.columns[place].name.clone()).collect()
    }

    fn columns_at(&self, names: &[String]) -> Option<Vec<usize>> {
        names.iter().map(|name| self.table.columns.iter().position(|column| column.name == *name)).collect()
    }

    fn write_lost(&self, lost: &Lost) -> WrittenLost {
        let row = |row: &Option<Arc<Row>>| row.as_deref().map(|row| self.shared(row));
        WrittenLost {
            id: lost.id.clone(),
            decided: lost.decided,
            winner: self.names[lost.winner.index()].clone(),
            winner_time: lost.winner_time,
            winner_row: row(&lost.winner_row),
            winner_unknown: self.columns_named(&lost.winner_unknown),
            loser: self.names[lost.loser.index()].clone(),
            loser_time: lost.loser_time,
            loser_row: row(&lost.loser_row),
            loser_unknown: self.columns_named(&lost.loser_unknown),
            reason: lost.reason.clone(),
            told: lost.told.as_deref().map(str::to_owned),
        }
    }

    /// The decision that was written; `None` if it cannot be one of this table and these nodes. What waits at the node is
    /// left to the caller.
    pub(super) fn read(&self, written: &WrittenRow) -> Option<Decision> {
        let key: Key = values(self.key_types(), &written.key)?;
        let row = match &written.row {
            Some(members) => Some(Arc::new(row_of(
                self.spec.columns.iter().map(|column| (column.name.as_str(), &column.ty)),
                members,
            )?)),
            None => None,
        };
        let version = match written.version.as_written {
            true => Some(row.clone()?),
            false => self.read_shared(&written.version.row)?,
        };
        let effect = match (written.change, row, &written.why) {
            (Change::Write, Some(row), None) => Effect::Write(row, WriteMode::Upsert),
            (Change::WriteNew, Some(row), None) => Effect::Write(row, WriteMode::InsertOnly),
            (Change::WriteExisting, Some(row), None) => Effect::Write(row, WriteMode::UpdateOnly),
            (Change::Delete, None, None) => Effect::Delete,
            (Change::Keep, None, None) => Effect::Keep,
            (Change::Wait, None, Some(why)) => Effect::Park(ParkedCode::parse(&why.code)?, why.message.clone()),
            _ => return None,
        };
        Some(Decision {
            key: key.clone(),
            effect,
            notes: written.notes.iter().map(|note| self.read_note(&key, note)).collect::<Option<_>>()?,
            waiting: None,
            touch: written.touch,
            otherwise: Some(Otherwise {
                vector: Vector::read(&written.version.vector, self.names)?,
                stamp: Stamp { time: written.version.time, node: self.node(&written.version.node)? },
                row: version,
                unknown: self.columns_at(&written.version.unknown)?,
                standing: Vector::read(&written.version.standing, self.names)?,
                standing_time: written.version.standing_time.unwrap_or(i64::MIN),
            }),
            lost: written.lost.iter().map(|lost| self.read_lost(&key, lost)).collect::<Option<_>>()?,
            lost_here: match &written.lost_here {
                Some(lost) => Some(self.read_lost(&key, lost)?),
                None => None,
            },
            lost_before: true,
            upon: match &written.stood {
                None | Some(Stood::Unreadable) => None,
                Some(Stood::Nothing) => Some(None),
                Some(Stood::Row(row)) => Some(Some(Arc::new(values(self.local_types(), row)?))),
            },
        })
    }

    fn local_types(&self) -> impl ExactSizeIterator<Item = &Type> {
        self.spec.columns.iter().map(|column| &column.ty)
    }

    fn key_types(&self) -> impl ExactSizeIterator<Item = &Type> {
        self.table.key.iter().map(|&place| &self.table.columns[place].ty)
    }

    fn image_types(&self) -> impl ExactSizeIterator<Item = &Type> {
        self.spec.image_columns().map(|column| &column.ty)
    }

    fn node(&self, name: &str) -> Option<NodeId> {
        self.names.iter().position(|known| known == name).map(|at| NodeId(at as u16))
    }

    fn read_shared(&self, members: &Option<Map<String, Document>>) -> Option<Option<Arc<Row>>> {
        let Some(members) = members else { return Some(None) };
        let columns = self.table.columns.iter().map(|column| (column.name.as_str(), &column.ty));
        row_of(columns, members).map(|row| Some(Arc::new(row)))
    }

    fn read_note(&self, key: &Key, note: &WrittenNote) -> Option<Note> {
        let image = |row: &Option<Vec<Document>>| match row {
            Some(row) => values(self.image_types(), row).map(Some),
            None => Some(None),
        };
        let images = match &note.images {
            Some([before, after]) => Some(Images { before: image(before)?, after: image(after)? }),
            None => None,
        };
        let dot: Dot = *Vector::read(&note.dot, self.names)?.dots().first()?;
        Some(Note {
            key: key.clone(),
            op: note.op,
            dot,
            vector: Vector::read(&note.vector, self.names)?,
            stamp: Stamp { time: note.time, node: self.node(&note.node)? },
            images,
        })
    }

    fn read_lost(&self, key: &Key, lost: &WrittenLost) -> Option<Lost> {
        Some(Lost {
            id: lost.id.clone(),
            table: self.table.index,
            key: key.clone(),
            decided: lost.decided,
            winner: self.node(&lost.winner)?,
            winner_time: lost.winner_time,
            winner_row: self.read_shared(&lost.winner_row)?,
            winner_unknown: self.columns_at(&lost.winner_unknown)?,
            loser: self.node(&lost.loser)?,
            loser_time: lost.loser_time,
            loser_row: self.read_shared(&lost.loser_row)?,
            loser_unknown: self.columns_at(&lost.loser_unknown)?,
            reason: lost.reason.clone(),
            told: lost.told.as_deref().map(Arc::from),
        })
    }
}

fn members<'a>(names: impl Iterator<Item = &'a str>, row: &[Value]) -> Map<String, Document> {
    names.zip(row).map(|(name, value)| (name.to_owned(), value_to_json(value))).collect()
}

/// A row of exactly these columns.
pub(in crate::sync) fn row_of<'a>(
    columns: impl ExactSizeIterator<Item = (&'a str, &'a Type)>,
    members: &Map<String, Document>,
) -> Option<Row> {
    if columns.len() != members.len() {
        return None;
    }
    columns.map(|(name, ty)| value_from_json(ty, members.get(name)?)).collect()
}

/// The values of a key or an image, which may be of other types than those of their columns.
fn documents<'a>(types: impl Iterator<Item = &'a Type>, values: &[Value]) -> Vec<Document> {
    types.zip(values).map(|(ty, value)| key_value_to_json(ty, value)).collect()
}

/// The inverse of [`documents`].
fn values<'a>(types: impl ExactSizeIterator<Item = &'a Type>, documents: &[Document]) -> Option<Row> {
    if types.len() != documents.len() {
        return None;
    }
    types.zip(documents).map(|(ty, document)| key_value_from_json(ty, document)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, Domain};
    use crate::sync::lens::Lens;
    use crate::sync::table::Form;

    /// What SQLite keeps in columns of other types is read back as what it is, not as what is spelled alike; so is what stood.
    #[test]
    fn keys_and_images_keep_values_of_other_types() {
        let columns = [("id", Type::Decimal), ("n", Type::Int)];
        let spec = TableSpec {
            columns: (0..columns.len())
                .map(|shared| Column {
                    name: columns[shared].0.to_owned(),
                    shared: Some(shared),
                    native: String::new(),
                    collation: None,
                    domain: Domain::Json { nul: true, binary: false },
                    ty: columns[shared].1.clone(),
                    nullable: true,
                })
                .collect(),
            key: vec![0],
            images: vec![1],
            ..TableSpec::bare(0, "t", std::iter::empty())
        };
        let table = Table::bare(&columns, vec![Some(Form { lens: Lens::new(&spec, 2), spec: Arc::new(spec.clone()) })]);
        let names = ["a".to_owned()];
        let scribe = Scribe { names: &names, table: &table, spec: &spec };
        let decimal = Value::Decimal(crate::model::Decimal::parse("1.5").unwrap());
        let bytes = Value::Bytes(vec![0xff].into());
        for (key, image) in [(decimal, Value::Int(7)), (Value::text("1.5"), Value::text("7")), (bytes.clone(), bytes)] {
            let stood: Row = vec![key.clone(), image.clone()].into();
            let key: Key = vec![key].into();
            let (dot, stamp) = (Dot { node: NodeId(0), number: 1, mark: 1 }, Stamp { time: 1, node: NodeId(0) });
            let vector = Vector::of(dot);
            let images = Images { before: Some(vec![image].into()), after: None };
            let lost = Lost {
                id: "1-0123456789ab".to_owned(),
                table: 0,
                key: key.clone(),
                decided: 3,
                winner: NodeId(0),
                winner_time: 2,
                winner_row: None,
                winner_unknown: Vec::new(),
                loser: NodeId(0),
                loser_time: 1,
                loser_row: Some(Arc::new(vec![Value::Null, Value::Int(7)].into())),
                loser_unknown: vec![0],
                reason: "why".to_owned(),
                told: Some("{\"columns\":[\"n\"]}".into()),
            };
            let decision = Decision {
                key: key.clone(),
                effect: Effect::Keep,
                notes: vec![Note {
                    key: key.clone(),
                    op: Op::Update,
                    dot,
                    vector: vector.clone(),
                    stamp,
                    images: Some(images.clone()),
                }],
                waiting: None,
                touch: None,
                otherwise: Some(Otherwise {
                    vector: vector.clone(),
                    stamp,
                    row: None,
                    unknown: vec![1],
                    standing: vector,
                    standing_time: 1,
                }),
                lost: vec![lost],
                lost_here: None,
                lost_before: true,
                upon: Some(Some(Arc::new(stood.clone()))),
            };
            let text = serde_json::to_string(&scribe.write("a", &decision)).unwrap();
            let written: WrittenRow = serde_json::from_str(&text).unwrap();
            let read = scribe.read(&written).unwrap_or_else(|| panic!("it is not read back: {text}"));
            assert_eq!((&read.key, read.notes[0].images.as_ref()), (&key, Some(&images)), "{text}");
            assert_eq!((&read.upon, &read.lost), (&decision.upon, &decision.lost), "{text}");
            assert_eq!(read.otherwise.as_ref().map(|version| &version.unknown[..]), Some(&[1][..]), "{text}");
            // An older Concord told nothing of it, and that none stood is not the same.
            for upon in [None, Some(None)] {
                let decision = Decision { upon: upon.clone(), ..scribe.read(&written).expect("it was read before") };
                let text = serde_json::to_string(&scribe.write("a", &decision)).unwrap();
                assert_eq!(text.contains("\"stood\""), upon.is_some(), "{text}");
                let written: WrittenRow = serde_json::from_str(&text).unwrap();
                assert_eq!(scribe.read(&written).unwrap().upon, upon, "{text}");
            }
            // Nor is that it could not be read.
            let silent = TableSpec { captured: false, ..spec.clone() };
            let scribe = Scribe { names: &names, table: &table, spec: &silent };
            let read = scribe.read(&written).expect("it was read before");
            let decision = Decision { effect: Effect::Delete, upon: None, ..read };
            let mut written = scribe.write("a", &decision).expect("it is of a version");
            let text = serde_json::to_string(&written).unwrap();
            assert!(text.contains("\"stood\":\"unreadable\""), "{text}");
            assert_eq!(
                (scribe.read(&written).unwrap().upon, written.lacks_what_stood(&silent)),
                (None, false),
                "{text}"
            );
            written.stood = None;
            assert_eq!([&silent, &spec].map(|spec| written.lacks_what_stood(spec)), [true, false]);
        }
    }
}
