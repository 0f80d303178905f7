//! A plan of what would be mended, in a file: one JSON document a line, first what it is, then a line for each key. A person
//! can read it, delete lines, and change what is to be written.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Document};
use tempfile::NamedTempFile;
use twox_hash::XxHash3_128;

use super::super::settle::{Settlement, differing};
use super::super::table::Table;
use super::mend::Mend;
use super::report::Counted;
use crate::error::{Error, Result};
use crate::model::{Key, NodeId, Row, Type, Value, value_to_json, write_canonical, written_value_from_json};

const FORMAT: &str = "concord verify plan 1";

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    plan: String,
    sync: String,
    nodes: Vec<String>,
}

/// A line for one key. Rows have the columns that live at their node; `null` is no row.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    table: String,
    key: Vec<Document>,
    /// By node: what stood there. Nothing is written unless it still does.
    read: BTreeMap<String, Option<Map<String, Document>>>,
    /// By node: what is to stand there.
    write: BTreeMap<String, Option<Map<String, Document>>>,
    /// Whose row it is, and why.
    from: String,
    why: String,
}

/// What stands at a node, or is to; `None` is no row.
type Side = (NodeId, Option<Arc<Row>>);

/// A plan that is being written. It takes its name when it is whole.
pub struct PlanWriter {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    /// Where the lines of the present table begin.
    table: u64,
}

impl PlanWriter {
    pub fn create(path: &Path, sync: &str, nodes: &[String]) -> Result<PlanWriter> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = NamedTempFile::new_in(folder).map_err(|why| cannot(path, "written", &why.to_string()))?;
        let mut writer = PlanWriter { path: path.to_owned(), file: BufWriter::new(file), table: 0 };
        writer.line(&Head { plan: FORMAT.to_owned(), sync: sync.to_owned(), nodes: nodes.to_vec() })?;
        Ok(writer)
    }

    /// The lines of another table follow, or those of the same one again.
    pub fn begin_table(&mut self, again: bool) -> Result<()> {
        let begun = (|| {
            if again {
                self.file.flush()?;
                self.file.get_mut().as_file_mut().set_len(self.table)?;
                self.file.seek(std::io::SeekFrom::Start(self.table))?;
            }
            self.table = self.file.stream_position()?;
            Ok::<(), std::io::Error>(())
        })();
        begun.map_err(|why| cannot(&self.path, "written", &why.to_string()))
    }

    pub fn add(&mut self, table: &Table, names: &[String], mend: &Mend) -> Result<()> {
        let rows = |rows: &[Side]| {
            let side = |(node, row): &Side| {
                (names[node.index()].clone(), row.as_deref().map(|row| members(table, *node, row)))
            };
            rows.iter().map(side).collect()
        };
        self.line(&Line {
            table: table.name.clone(),
            key: mend.key.iter().map(value_to_json).collect(),
            read: rows(&mend.read),
            write: rows(&mend.write),
            from: names[mend.settlement.winner.index()].clone(),
            why: mend.settlement.reason.clone(),
        })
    }

    fn line(&mut self, line: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(line).map_err(|why| Error::Internal(format!("writing JSON: {why}")))?;
        writeln!(self.file, "{text}").map_err(|why| cannot(&self.path, "written", &why.to_string()))
    }

    pub fn finish(self) -> Result<()> {
        let path = self.path;
        let kept = self.file.into_inner().map_err(|why| why.to_string()).and_then(|file| {
            file.as_file().sync_all().map_err(|why| why.to_string())?;
            file.persist(&path).map_err(|why| why.to_string())
        });
        kept.map(drop).map_err(|why| cannot(&path, "written", &why))
    }
}

fn cannot(path: &Path, what: &str, why: &str) -> Error {
    Error::Usage(format!("the plan {} cannot be {what}: {why}", path.display()))
}

/// The columns of a shared row that live at a node.
fn members(table: &Table, node: NodeId, row: &Row) -> Map<String, Document> {
    let lives = |at: &usize| table.form(node).is_some_and(|form| form.lens.has(*at));
    let places = (0..table.columns.len()).filter(lives);
    places.map(|at| (table.columns[at].name.clone(), value_to_json(&row[at]))).collect()
}

/// A plan that was written, read line by line.
pub struct PlanReader {
    path: PathBuf,
    lines: BufReader<File>,
    number: usize,
    /// By table and a hash of the key: the line.
    seen: HashMap<(usize, u128), usize>,
}

impl PlanReader {
    /// Opens a plan; refuses one that was made for another sync or for other nodes.
    pub fn open(path: &Path, sync: &str, nodes: &[String]) -> Result<PlanReader> {
        let file = File::open(path).map_err(|why| cannot(path, "read", &why.to_string()))?;
        let mut reader =
            PlanReader { path: path.to_owned(), lines: BufReader::new(file), number: 0, seen: HashMap::new() };
        let text = reader.next_text()?.unwrap_or_default();
        let head: Option<Head> = serde_json::from_str(&text).ok();
        match head {
            Some(head) if head.plan != FORMAT => {
                Err(reader.wrong(&format!("it is a `{}`, and this Concord reads `{FORMAT}`", head.plan)))
            }
            Some(head) if head.sync != sync => {
                Err(reader.wrong(&format!("it was made for the sync `{}`, and the file describes `{sync}`", head.sync)))
            }
            Some(head) if head.nodes != nodes => Err(reader.wrong(&format!(
                "it was made for the nodes {}, and the file lists {}",
                head.nodes.join(", "),
                nodes.join(", ")
            ))),
            Some(_) => Ok(reader),
            None => Err(reader.wrong("it is no plan of `concord verify --repair --out`")),
        }
    }

    fn next_text(&mut self) -> Result<Option<String>> {
        loop {
            let mut text = String::new();
            let read = self.lines.read_line(&mut text).map_err(|why| cannot(&self.path, "read", &why.to_string()))?;
            self.number += 1;
            match read {
                0 => return Ok(None),
                // Lines may be emptied.
                _ if text.trim().is_empty() => {}
                _ => return Ok(Some(text)),
            }
        }
    }

    /// What is the matter with the line that was read last.
    pub fn wrong(&self, what: &str) -> Error {
        Error::Usage(format!("{}:{}: {what}", self.path.display(), self.number))
    }

    /// The next key: its table's index and what is to be written. Fails for whatever does not fit the tables.
    pub fn next(&mut self, tables: &[Table], names: &[String]) -> Result<Option<(usize, Mend)>> {
        let Some(text) = self.next_text()? else { return Ok(None) };
        let line: Line = serde_json::from_str(&text).map_err(|why| self.wrong(&format!("{why}")))?;
        let Some(table) = tables.iter().find(|table| table.name == line.table) else {
            return Err(self.wrong(&format!("no table is called `{}`", line.table)));
        };
        let found = mend(table, names, &line).map_err(|why| self.wrong(&why))?;
        // Whichever comes last would be what stands, and both would count as written.
        let mut key = Vec::new();
        found.key.iter().for_each(|value| write_canonical(value, &mut key));
        if let Some(line) = self.seen.insert((table.index, XxHash3_128::oneshot(&key)), self.number) {
            let what = format!("line {line} is about this key of `{}` already; delete one of them", table.name);
            return Err(self.wrong(&what));
        }
        Ok(Some((table.index, found)))
    }
}

fn mend(table: &Table, names: &[String], line: &Line) -> std::result::Result<Mend, String> {
    let types = table.key.iter().map(|&at| &table.columns[at].ty);
    let key: Option<Key> = match line.key.len() == table.key.len() {
        true => types.zip(&line.key).map(|(ty, cell)| value_of(ty, cell).filter(|value| !value.is_null())).collect(),
        false => None,
    };
    let key = key.ok_or_else(|| format!("this is no key of `{}`", table.name))?;
    let node = |name: &str| match names.iter().position(|known| known == name) {
        Some(at) => Ok(NodeId(at as u16)),
        None => Err(format!("no node is called `{name}`")),
    };
    let rows = |sides: &BTreeMap<String, Option<Map<String, Document>>>| {
        let side = |(name, members): (&String, &Option<Map<String, Document>>)| {
            let node = node(name)?;
            let row = members.as_ref().map(|members| row(table, node, name, members, &key).map(Arc::new));
            Ok((node, row.transpose()?))
        };
        let mut rows = sides.iter().map(side).collect::<std::result::Result<Vec<_>, String>>()?;
        rows.sort_by_key(|(node, _)| *node);
        Ok::<_, String>(rows)
    };
    let (read, mut write) = (rows(&line.read)?, rows(&line.write)?);
    if let Some((node, _)) = write.iter().find(|(node, _)| !table.takes_rows(*node)) {
        return Err(format!("`{}` comes from {} alone; nothing is written there", table.name, names[node.index()]));
    }
    if let Some((node, _)) = write.iter().find(|(node, _)| !read.iter().any(|(known, _)| known == node)) {
        return Err(format!("`write` names {}, and `read` does not tell what stood there", names[node.index()]));
    }
    let mut settlement = Settlement { winner: node(&line.from)?, reason: line.why.clone() };
    let by_hand = !is_as_decided(table, settlement.winner, &read, &write);
    if by_hand {
        settlement.reason = "the plan was changed by hand".to_owned();
    }
    complete(table, settlement.winner, &read, &mut write);
    let (locals, counted) = (Vec::new(), Counted::default());
    Ok(Mend { key, read, locals, write, settlement, disputed: false, stays: false, by_hand, counted })
}

/// Whether what is to be written is what follows from whose row is taken.
fn is_as_decided(table: &Table, winner: NodeId, read: &[Side], write: &[Side]) -> bool {
    let won = read.iter().find(|(node, _)| *node == winner).and_then(|(_, row)| row.as_deref());
    write.iter().all(|(node, row)| match (row, won) {
        (Some(row), Some(won)) => differing(table, (*node, row), (winner, won)).is_empty(),
        (Some(_), None) => false,
        // It does not belong there.
        (None, Some(_)) => table.subset(*node).is_some(),
        (None, None) => table.from == Some(winner),
    })
}

/// Gives rows the columns that do not live at their nodes, as they are elsewhere once this is written: so the journal keeps them
/// whole.
fn complete(table: &Table, winner: NodeId, read: &[Side], write: &mut [Side]) {
    let has = |node: NodeId, place: usize| table.form(node).is_some_and(|form| form.lens.has(place));
    let before = write.to_vec();
    let stays = read.iter().filter(|(node, _)| before.iter().all(|(written, _)| written != node));
    let (first, others): (Vec<&Side>, Vec<&Side>) = stays.partition(|(node, _)| *node == winner);
    let known: Vec<&Side> = before.iter().chain(first).chain(others).collect();
    for (node, row) in write {
        let Some(row) = row else { continue };
        for place in (0..table.columns.len()).filter(|place| !has(*node, *place)) {
            let other = known.iter().filter(|(at, _)| has(*at, place)).find_map(|(_, row)| row.as_ref());
            if let Some(other) = other {
                Arc::make_mut(row)[place] = other[place].clone();
            }
        }
    }
}

/// A row of the columns that live at a node, all of them.
fn row(
    table: &Table,
    node: NodeId,
    name: &str,
    members: &Map<String, Document>,
    key: &Key,
) -> std::result::Result<Row, String> {
    let Some(form) = table.form(node) else { return Err(format!("`{}` is not there at {name} now", table.name)) };
    let known = |column: &String| {
        table.columns.iter().enumerate().any(|(at, known)| known.name == *column && form.lens.has(at))
    };
    if let Some(column) = members.keys().find(|column| !known(column)) {
        return Err(format!("`{}` has no column `{column}` at {name}", table.name));
    }
    let cell = |(at, column): (usize, &super::super::table::SharedColumn)| {
        if !form.lens.has(at) {
            return Ok(Value::Null);
        }
        let cell = members.get(&column.name).ok_or_else(|| format!("the row at {name} has no `{}`", column.name))?;
        value_of(&column.ty, cell).ok_or_else(|| format!("`{}` at {name} is no {}", column.name, column.ty))
    };
    let row: Row = table.columns.iter().enumerate().map(cell).collect::<std::result::Result<_, String>>()?;
    match table.key.iter().zip(key).all(|(&at, part)| row[at] == *part) {
        true => Ok(row),
        false => Err(format!("the row at {name} has another key than the line")),
    }
}

/// A value of this type and no other.
fn value_of(ty: &Type, document: &Document) -> Option<Value> {
    written_value_from_json(ty, document).filter(|value| ty.has(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_of_their_type_and_what_they_say() {
        for (ty, document) in [(Type::Json, json!({"json": "{}"})), (Type::Bytes, json!({"hex": "0aFF"}))] {
            assert!(value_of(&ty, &document).is_some(), "{document}");
        }
        for (ty, document) in [
            (Type::Json, json!({"json": "no json"})),
            (Type::Any, json!({"json": "no json"})),
            (Type::Bytes, json!({"hex": "abc"})),
            (Type::Bytes, json!({"hex": "+f"})),
            (Type::Int, json!("6")),
        ] {
            assert_eq!(value_of(&ty, &document), None, "{document}");
        }
    }
}
