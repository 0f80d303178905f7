//! A plan as a file: everything that carrying it out takes, in JSON, sealed so that nothing but what was planned is done.
//!
//! Every row stands on a line of its own. Each has a seal over its own content, and the file one over all of them, so that
//! a change made by hand is found, with its line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Document};
use sha2::{Digest, Sha256};

use super::Draft;
use crate::error::{Error, Result};
use crate::model::{
    Cut, Dot, Images, Key, Lost, NodeId, Op, Parked, ParkedCode, Position, Row, Stamp, TableSpec, Type, Value, Vector,
    key_value_from_json, key_value_to_json, time, value_from_json, value_to_json,
};
use crate::node::apply::{Decision, Effect, Otherwise};
use crate::node::{Move, Note, WriteMode};
use crate::sync::session::Session;
use crate::sync::table::Table;

/// The layout that this build writes and reads.
const FORMAT: u32 = 1;

/// A plan that was read from a file and is as it was written.
#[derive(Debug)]
pub struct PlanFile {
    path: PathBuf,
    pub(super) whole: Written,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub plan: Header,
    pub rows: Vec<WrittenRow>,
    /// Over the header and the rows' seals.
    seal: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    format: u32,
    pub sync: String,
    /// When, for a person.
    made: String,
    pub nodes: Vec<WrittenNode>,
}

/// A node of the sync, in the order of the configuration file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenNode {
    pub name: String,
    /// Drawn when Concord was installed there; absent if it took no part.
    pub installation: Option<String>,
    pub tables: Vec<WrittenTable>,
    pub moves: Vec<WrittenMove>,
    pub stays: Vec<WrittenMove>,
}

/// A table at a node.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenTable {
    pub table: String,
    /// Of all that the decisions depend on: columns, key, rule, direction.
    pub shape: String,
    /// Up to where the node's own history was read, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenMove {
    table: String,
    source: String,
    from: String,
    to: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    witness: Option<String>,
}

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
    seal: String,
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
}

impl Written {
    pub(super) fn new(session: &Session, draft: &Draft) -> Written {
        let names = &session.names;
        let mut rows = Vec::new();
        let mut nodes = Vec::with_capacity(names.len());
        for (member, batch) in session.members.iter().zip(&draft.batches) {
            let presence = draft.opened.present[member.id.index()].as_ref();
            let forms = session
                .tables
                .iter()
                .filter(|table| !table.compared)
                .filter_map(|table| Some((table, table.spec(member.id)?)));
            let tables = forms.filter(|_| presence.is_some()).map(|(table, spec)| WrittenTable {
                table: table.name.clone(),
                shape: shape(table, spec),
                read: draft.opened.read_cut(table.index, member.id).map(|cut| cut.to_string()),
            });
            nodes.push(WrittenNode {
                name: member.name.clone(),
                installation: presence.map(|presence| presence.installation.clone()),
                tables: tables.collect(),
                moves: batch.iter().flat_map(|batch| &batch.moves).map(WrittenMove::of).collect(),
                stays: batch.iter().flat_map(|batch| &batch.stays).map(WrittenMove::of).collect(),
            });
            for part in batch.iter().flat_map(|batch| &batch.tables) {
                let scribe = Scribe { names, table: &session.tables[part.spec.index], spec: &part.spec };
                rows.extend(part.decisions.iter().filter_map(|decision| scribe.write(&member.name, decision)));
            }
        }
        let plan =
            Header { format: FORMAT, sync: session.config.name.clone(), made: time::instant(time::now()), nodes };
        let seal = seal(&plan, &rows);
        Written { plan, rows, seal }
    }

    /// The text of the file.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = b"{\"plan\":".to_vec();
        let told = |text: std::result::Result<Vec<u8>, serde_json::Error>| match text {
            Ok(text) => text,
            Err(error) => unreachable!("nothing of a plan is without a JSON form: {error}"),
        };
        out.extend(told(serde_json::to_vec_pretty(&self.plan)));
        out.extend(b",\n\"rows\":[");
        for (at, row) in self.rows.iter().enumerate() {
            out.extend(if at == 0 { &b"\n"[..] } else { b",\n" });
            out.extend(told(serde_json::to_vec(row)));
        }
        out.extend(b"\n],\n\"seal\":");
        out.extend(told(serde_json::to_vec(&self.seal)));
        out.extend(b"}\n");
        out
    }
}

impl PlanFile {
    /// Reads a plan. Refuses what is no plan, what a newer Concord wrote, and what was changed since it was written.
    pub fn read(path: &Path) -> Result<PlanFile> {
        let text = std::fs::read(path)
            .map_err(|why| Error::Usage(format!("{}: the plan cannot be read: {why}", path.display())))?;
        PlanFile::parse(path, &text)
    }

    pub(in crate::sync) fn parse(path: &Path, text: &[u8]) -> Result<PlanFile> {
        let refuse = |place: &str, what: &str| {
            Err(Error::Usage(format!("{}{place}: {what}\n    make it anew: concord plan --out FILE", path.display())))
        };
        let whole: Written = match serde_json::from_slice(text) {
            Ok(whole) => whole,
            Err(why) => {
                let place = format!(":{}:{}", why.line(), why.column());
                return refuse(
                    &place,
                    &format!("this is no plan that `concord plan --out` wrote: {}", without_place(&why)),
                );
            }
        };
        if whole.plan.format != FORMAT {
            let what = format!("the plan is of format {}, and this Concord knows {FORMAT}", whole.plan.format);
            return refuse("", &what);
        }
        for (at, row) in whole.rows.iter().enumerate() {
            if row.seal != row.sealed() {
                let place = line_of(text, &row.seal).map_or(String::new(), |line| format!(":{line}"));
                let key = Document::Array(row.key.clone());
                let what = format!(
                    "row {} of the plan (table `{}`, key {key}, node `{}`) was changed since it was written",
                    at + 1,
                    row.table,
                    row.node
                );
                return refuse(&place, &what);
            }
        }
        if whole.seal != seal(&whole.plan, &whole.rows) {
            let place = line_of(text, &whole.seal).map_or(String::new(), |line| format!(":{line}"));
            return refuse(
                &place,
                "the head of the plan was changed since it was written, or rows were added, taken out or moved",
            );
        }
        Ok(PlanFile { path: path.to_owned(), whole })
    }

    /// An error about the plan as a whole.
    pub(super) fn refuse(&self, what: impl std::fmt::Display) -> Error {
        Error::Refused(vec![format!("{}: {what}; nothing was changed. Make a new plan", self.path.display())])
    }
}

fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// The line on which a seal stands, counted from one.
fn line_of(text: &[u8], seal: &str) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    let at = text.find(&format!("\"{seal}\""))?;
    Some(1 + text[..at].matches('\n').count())
}

fn seal_of(content: impl Serialize) -> String {
    let text = serde_json::to_vec(&content).unwrap_or_default();
    Sha256::digest(text).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

fn seal(plan: &Header, rows: &[WrittenRow]) -> String {
    seal_of((plan, rows.iter().map(|row| row.seal.as_str()).collect::<Vec<_>>()))
}

/// A digest of all that decisions about a table at a node depend on.
pub(super) fn shape(table: &Table, spec: &TableSpec) -> String {
    let columns = spec.columns.iter().map(|column| {
        let collation = column.collation.iter().map(|collation| format!(" COLLATE {collation}"));
        (
            &column.name,
            column.shared.map_or(-1, |place| place as i64),
            column.native.clone() + &collation.collect::<String>(),
        )
    });
    let text = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {} {:?}",
        table.columns,
        table.key,
        table.policy,
        table.operations,
        table.from,
        spec.schema,
        spec.local,
        columns.collect::<Vec<_>>()
    );
    let asked = table.resolver.as_ref().map(|resolver| (&resolver.plugin().digest, resolver.config()));
    let filters: Vec<&str> = table.subsets.iter().flatten().filter_map(|subset| subset.mark.as_deref()).collect();
    let mappings: Vec<&str> = table.mappings.iter().flatten().map(String::as_str).collect();
    // Plans of tables without filters and mappings go on as before.
    match (filters.is_empty(), mappings.is_empty()) {
        (true, true) => seal_of((text, asked)),
        (false, true) => seal_of((text, asked, filters)),
        (_, false) => seal_of((text, asked, filters, mappings)),
    }
}

/// What tells one waiting version from another.
pub(super) fn waiting_text(parked: &Parked, names: &[String]) -> String {
    format!("{} {} {}", parked.since, parked.code.as_str(), parked.vector.write(names))
}

impl WrittenMove {
    fn of(step: &Move) -> WrittenMove {
        WrittenMove {
            table: step.table.clone(),
            source: step.source.clone(),
            from: step.from.to_string(),
            to: step.to.cut.to_string(),
            witness: step.to.witness.as_ref().map(ToString::to_string),
        }
    }

    pub(super) fn read(&self) -> Option<Move> {
        let witness = match &self.witness {
            Some(text) => Some(text.parse().ok()?),
            None => None,
        };
        let to = Position { cut: self.to.parse().ok()?, witness };
        Some(Move { table: self.table.clone(), source: self.source.clone(), from: self.from.parse().ok()?, to })
    }
}

impl WrittenTable {
    /// Up to where the history was read; `Some(None)` if it was not.
    pub(super) fn cut(&self) -> Option<Option<Cut>> {
        match &self.read {
            Some(text) => text.parse().ok().map(Some),
            None => Some(None),
        }
    }
}

impl WrittenRow {
    fn sealed(&self) -> String {
        seal_of(WrittenRow { seal: String::new(), ..self.clone() })
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
    fn write(&self, node: &str, decision: &Decision) -> Option<WrittenRow> {
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
        let Otherwise { vector, stamp, row: version, standing, standing_time } = decision.otherwise.as_ref()?;
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
            version: WrittenVersion {
                node: name(stamp.node),
                time: stamp.time,
                vector: vector.write(self.names),
                row: version.as_deref().filter(|_| !as_written).map(|row| self.shared(row)),
                as_written,
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
                standing: Vector::read(&written.version.standing, self.names)?,
                standing_time: written.version.standing_time.unwrap_or(i64::MIN),
            }),
            lost: written.lost.iter().map(|lost| self.read_lost(&key, lost)).collect::<Option<_>>()?,
            lost_here: match &written.lost_here {
                Some(lost) => Some(self.read_lost(&key, lost)?),
                None => None,
            },
            lost_before: true,
            upon: None,
        })
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
    use crate::config::Operations;
    use crate::merge::Policy;
    use crate::model::{Column, Domain};
    use crate::sync::lens::Lens;
    use crate::sync::table::{Form, SharedColumn};

    /// What SQLite keeps in columns of other types is read back as what it is, not as what is spelled alike.
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
        let shared =
            columns.iter().map(|(name, ty)| SharedColumn { name: (*name).into(), ty: ty.clone(), grain: None });
        let table = Table {
            index: 0,
            name: "t".into(),
            columns: shared.collect(),
            key: vec![0],
            policy: Policy::LatestWins,
            resolver: None,
            subsets: Vec::new(),
            mappings: Vec::new(),
            operations: Operations::ALL,
            updated: None,
            from: None,
            compared: false,
            forms: vec![Some(Form { lens: Lens::new(&spec, 2), spec: Arc::new(spec.clone()) })],
            stopped: None,
            filtered_otherwise: None,
        };
        let names = ["a".to_owned()];
        let scribe = Scribe { names: &names, table: &table, spec: &spec };
        let decimal = Value::Decimal(crate::model::Decimal::parse("1.5").unwrap());
        let bytes = Value::Bytes(vec![0xff].into());
        for (key, image) in [(decimal, Value::Int(7)), (Value::text("1.5"), Value::text("7")), (bytes.clone(), bytes)] {
            let key: Key = vec![key].into();
            let (dot, stamp) = (Dot { node: NodeId(0), number: 1, mark: 1 }, Stamp { time: 1, node: NodeId(0) });
            let vector = Vector::of(dot);
            let images = Images { before: Some(vec![image].into()), after: None };
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
                    standing: vector,
                    standing_time: 1,
                }),
                lost: Vec::new(),
                lost_here: None,
                lost_before: true,
                upon: None,
            };
            let text = serde_json::to_string(&scribe.write("a", &decision)).unwrap();
            let written: WrittenRow = serde_json::from_str(&text).unwrap();
            let read = scribe.read(&written).unwrap_or_else(|| panic!("it is not read back: {text}"));
            assert_eq!((&read.key, read.notes[0].images.as_ref()), (&key, Some(&images)), "{text}");
        }
    }
}
