//! A plan as a file: everything that carrying it out takes, in JSON, sealed so that nothing but what was planned is done.
//!
//! Every row stands on a line of its own. Each has a seal over its own content, and the file one over all of them, so that
//! a change made by hand is found, with its line.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value as Document;
use sha2::{Digest, Sha256};

use super::Draft;
use super::row::{Scribe, WrittenRow};
use crate::digest::hexadecimal;
use crate::error::{Error, Result};
use crate::model::{Cut, Parked, Position, TableSpec, time};
use crate::node::Move;
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

    /// The same as an older Concord wrote it.
    #[cfg(test)]
    pub(in crate::sync) fn without_what_stood(mut self) -> PlanFile {
        self.whole.rows.iter_mut().for_each(|row| row.stood = None);
        self
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

pub(super) fn seal_of(content: impl Serialize) -> String {
    let text = serde_json::to_vec(&content).unwrap_or_default();
    hexadecimal(&Sha256::digest(text)[..12])
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
