//! Overturning a decision: another version of the row becomes a new, ordinary change, which travels like any other.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value as Document};

use super::attendance::Away;
use super::opened::Opened;
use super::session::Session;
use super::settle::WON_UNREAD;
use super::status::ConflictReport;
use super::subset::Belongs;
use super::table::Table;
use crate::error::{Error, Result};
use crate::fault;
use crate::merge::Policy;
use crate::model::{Cut, Key, Lost, NodeId, Row, Type, Value, time, value_from_json, written_value_from_json};
use crate::node::apply::Effect;
use crate::node::{self, Move, Node, Sought};

/// What a row is to become.
#[derive(Clone, Debug)]
pub enum Remedy {
    /// The version that this node had in the conflict. Columns that the policy adds up itself keep what stands; what a plugin makes of
    /// columns only the plugin knows.
    Take(String),
    /// These columns; those that are not named keep the value that stands. `None` deletes the row.
    Row(Option<Map<String, Document>>),
    /// The version that lost, if there is just one; as with `Take`.
    Undo,
}

/// A decision that was overturned.
#[derive(Clone, Debug, Serialize)]
pub struct ResolvedReport {
    /// The id under which the journal keeps what stood before, see [`ConflictReport::resolves`].
    pub id: String,
    pub table: String,
    pub key: Document,
    /// Where the row was written; the next sync carries it from there.
    pub node: String,
    /// What it was; absent if there was none.
    pub before: Option<Document>,
    /// What it is now; absent if it was deleted.
    pub after: Option<Document>,
    /// Nodes that could not be asked whether the row was changed there since.
    pub away: Vec<Away>,
}

/// A conflict of the journal, with all that lost in it.
struct Case {
    lost: Vec<Lost>,
    /// How often it was overturned already.
    overturned: usize,
}

/// The row that stands, in the shared shape; columns that do not live at the node are NULL.
struct Standing {
    row: Option<Row>,
    /// The same in the node's own shape.
    current: Option<Arc<Row>>,
    /// Up to where the node's own history was read.
    read: Cut,
}

impl ConflictReport {
    /// The id of the conflict whose decision this entry overturned, if it is no conflict but a person's word on one.
    pub fn resolves(&self) -> Option<&str> {
        self.id.rsplit_once('.').map(|(id, _)| id)
    }

    /// Whether what won could not be read, so that the journal does not tell it. That is no delete.
    pub fn is_won_unread(&self) -> bool {
        self.winner_row.is_none() && self.resolves().is_none() && self.id.starts_with(WON_UNREAD)
    }
}

impl Session {
    /// Overturns the decision of a conflict by a new change, made at one node as its users would make it. Refuses if the row
    /// is anywhere something else than what the conflict made of it, or somebody is away who may have changed it, unless `force`.
    pub async fn resolve(&mut self, id: &str, remedy: &Remedy, force: bool) -> Result<ResolvedReport> {
        self.prepare().await?;
        let case = self.case(id).await?;
        let first = &case.lost[0];
        let (table, key) = (first.table, first.key.clone());
        if !self.tables[table].may_have_key(&key) {
            return Err(Error::Usage(format!(
                "{} is about a row of `{}` under a key that the table had before; write the row as it should be at any node",
                first.id, self.tables[table].name
            )));
        }
        let chosen = self.chosen(&case, remedy)?;
        let opened = self.open().await?;
        let looked = self.standing(&opened, table, &key).await;
        self.close().await;
        let standing = looked?;
        let at = self.where_to_write(&opened, table, &standing)?;
        if !force {
            let places = self.places_of(table, first.winner_row.as_ref()).await?;
            self.refuse_what_moved_on(&opened, &case, &standing, &places)?;
            self.refuse_what_nobody_can_tell()?;
        }
        let Some(stands) = &standing[at.index()] else {
            return Err(Error::Internal("a node that is there was not asked".to_owned()));
        };
        let before = &stands.row;
        let after = match chosen {
            Chosen::Version(None, _) => None,
            Chosen::Version(Some(row), mut unknown) => {
                let stands = before.as_deref().or(first.winner_row.as_deref().map(|row| &**row));
                if let Policy::Sum(columns) = &self.tables[table].policy {
                    // What everybody added stays: taking it back would be a change that counts once more.
                    unknown.extend(columns);
                }
                Some(with_known(&row, unknown, stands))
            }
            Chosen::Columns(None) => None,
            Chosen::Columns(Some(columns)) => Some(filled(
                &self.tables[table],
                &key,
                &columns,
                before.as_deref().or(first.winner_row.as_deref().map(|row| &**row)),
            )?),
        };
        if *before == after {
            return Err(Error::Usage(format!(
                "that is what stands at `{}` already; nothing was changed",
                self.names[at.index()]
            )));
        }
        let operations = self.tables[table].operations;
        let (carried, what) = match (before, &after) {
            (None, _) => (operations.insert, "inserts"),
            (Some(_), Some(_)) => (operations.update, "updates"),
            (Some(_), None) => (operations.delete, "deletes"),
        };
        if !carried {
            return Err(Error::Usage(format!(
                "`operations` of `{}` carries no {what}, so what is written at `{}` would stay there; write the row by hand \
                 wherever it is to be so",
                self.tables[table].name,
                self.names[at.index()]
            )));
        }
        let lost = Lost {
            id: format!("{}.{}", first.id, case.overturned + 1),
            table,
            key: key.clone(),
            decided: time::now(),
            winner: at,
            winner_time: time::now(),
            winner_row: after.clone().map(Arc::new),
            winner_unknown: Vec::new(),
            loser: first.winner,
            loser_time: first.winner_time,
            loser_row: before.clone().map(Arc::new),
            loser_unknown: Vec::new(),
            reason: format!("resolved by hand: overturns the decision of {}", first.id),
            told: None,
        };
        self.write_resolved(&opened, at, &lost, stands, after.as_ref()).await?;
        let table = &self.tables[table];
        Ok(ResolvedReport {
            id: lost.id,
            table: table.name.clone(),
            key: table.key_document(&key),
            node: self.names[at.index()].clone(),
            before: before.as_ref().map(|row| table.row_document(row)),
            after: after.as_ref().map(|row| table.row_document(row)),
            away: self.away(),
        })
    }

    /// The one conflict whose id begins so.
    async fn case(&mut self, id: &str) -> Result<Case> {
        let all = self.report(async |session| session.journals(None, Sought::Id(id), 0).await).await?;
        let away = || match self.away().as_slice() {
            [] => String::new(),
            away => {
                let names: Vec<&str> = away.iter().map(|away| away.node.as_str()).collect();
                format!("; the journal of {} could not be read", names.join(", "))
            }
        };
        let exact = all.iter().any(|lost| lost.id == id);
        let is_meant = |lost: &Lost| match exact {
            true => lost.id == id,
            // What a person said about a conflict is meant only if it is named in full.
            false => lost.id.starts_with(id) && !lost.id.contains('.') && !lost.id.starts_with("dropped-"),
        };
        let lost: Vec<Lost> = all.iter().filter(|lost| is_meant(lost)).cloned().collect();
        let Some(first) = lost.first() else {
            return Err(Error::Usage(format!(
                "no conflict has an id that begins with `{id}`{}\n    see: concord conflicts list",
                away()
            )));
        };
        if first.id.starts_with("dropped-") {
            return Err(Error::Usage(format!(
                "{} is no conflict but a row that was given up; write the row as it should be at any node",
                first.id
            )));
        }
        if lost.iter().any(|other| other.id != first.id) {
            return Err(Error::Usage(format!("several conflicts have an id that begins with `{id}`; say more of it")));
        }
        let follows = format!("{}.", first.id);
        let overturned =
            all.iter().filter_map(|other| other.id.strip_prefix(&follows)?.parse().ok()).max().unwrap_or(0);
        Ok(Case { lost, overturned })
    }

    /// The version that a person asks for.
    fn chosen(&self, case: &Case, remedy: &Remedy) -> Result<Chosen> {
        let name = |node: NodeId| self.names[node.index()].as_str();
        let first = &case.lost[0];
        let losers = || case.lost.iter().map(|lost| name(lost.loser)).collect::<Vec<_>>();
        match remedy {
            Remedy::Undo => match &case.lost[..] {
                [lost] => Ok(Chosen::Version(lost.loser_row.clone(), lost.loser_unknown.clone())),
                _ => Err(Error::Usage(format!(
                    "several versions lost this conflict, those of {}; say which: --take NODE",
                    losers().join(", ")
                ))),
            },
            Remedy::Take(node) => {
                // Of several the one that was written last.
                let lost = case.lost.iter().filter(|lost| name(lost.loser) == node).max_by_key(|lost| lost.loser_time);
                if let Some(lost) = lost {
                    return Ok(Chosen::Version(lost.loser_row.clone(), lost.loser_unknown.clone()));
                }
                if name(first.winner) == node && first.winner_row.is_none() && first.id.starts_with(WON_UNREAD) {
                    return Err(Error::Usage(format!(
                        "the row of `{node}` could not be read, so the journal does not tell it; write the row as it should be at any node"
                    )));
                }
                if name(first.winner) == node {
                    return Ok(Chosen::Version(first.winner_row.clone(), first.winner_unknown.clone()));
                }
                Err(Error::Usage(format!(
                    "`{node}` had no version of its own in this conflict; those that had: {}, {}",
                    name(first.winner),
                    losers().join(", ")
                )))
            }
            Remedy::Row(columns) => Ok(Chosen::Columns(columns.clone())),
        }
    }

    /// What stands at every node that is there.
    async fn standing(&mut self, opened: &Opened, table: usize, key: &Key) -> Result<Vec<Option<Standing>>> {
        let mut all = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            let form = self.tables[table].form(member.id).filter(|_| opened.is_present(member.id));
            let (Some(form), Some(node)) = (form, member.node.as_deref_mut()) else {
                all.push(None);
                continue;
            };
            let looking = async {
                let rows = node.rows(&form.spec, &[key]).await?;
                let current = rows.iter().flatten().flatten().next().cloned().map(Arc::new);
                let row = form.lens.share_apart(rows, Option::as_mut).await.into_iter().next().flatten();
                let read = match form.spec.captured {
                    true => node.entries(&form.spec, &Cut::START, None, 1).await?.whole,
                    false => Cut::START,
                };
                Ok((row, current, read))
            };
            let (row, current, read) = looking.await.map_err(Error::at(&member.name, "reading the row"))?;
            let row = match row {
                Some(Err(why)) => {
                    return Err(Error::Stopped(format!("node `{}`: the row cannot be read: {why}", member.name)));
                }
                Some(Ok(row)) => Some(row),
                None => None,
            };
            all.push(Some(Standing { row, current, read }));
        }
        Ok(all)
    }

    /// The first node that is there, from which the table is carried, and where all its columns live. Where rows are hidden by
    /// filters it is one that has the row, or else one that would have it: whoever makes a row anew has seen nothing of the others'.
    fn where_to_write(&self, opened: &Opened, table: usize, standing: &[Option<Standing>]) -> Result<NodeId> {
        let table = &self.tables[table];
        let name = &table.name;
        if let Some(why) = &table.stopped {
            return Err(Error::Stopped(format!("table `{name}` stands still: {why}")));
        }
        let fits = |node: &NodeId| {
            table.is_source(*node) && table.form(*node).is_some_and(|form| form.lens.is_total() && form.spec.captured)
        };
        let nodes: Vec<NodeId> = opened.nodes().map(|(node, _)| node).filter(fits).collect();
        let Some(first) = nodes.first() else {
            return Err(Error::Stopped(format!(
                "no node that is there has all columns of `{name}` and passes its changes on; write the row by hand"
            )));
        };
        if !table.has_subsets() {
            return Ok(*first);
        }
        let has_it = |node: &&NodeId| standing[node.index()].as_ref().is_some_and(|standing| standing.row.is_some());
        let takes_all = |node: &&NodeId| table.subset(**node).is_none();
        nodes.iter().find(has_it).or_else(|| nodes.iter().find(takes_all)).copied().ok_or_else(|| {
            Error::Stopped(format!(
                "no node that is there has the row or takes all rows of `{name}`, so it would be made anew where nothing is known of \
                 what others did to it\n    if that is meant, insert the row by hand where it belongs"
            ))
        })
    }

    /// Where a row belongs, by node.
    async fn places_of(&self, table: usize, row: Option<&Arc<Row>>) -> Result<Vec<Belongs>> {
        let mut places = Vec::with_capacity(self.names.len());
        for at in 0..self.names.len() {
            let rows = row.into_iter().cloned().collect();
            places.extend(self.tables[table].belong_apart(NodeId(at as u16), rows).await?);
        }
        Ok(places)
    }

    /// Refuses if something else stands anywhere than what the conflict made of the row, which belongs at these places.
    fn refuse_what_moved_on(
        &self,
        opened: &Opened,
        case: &Case,
        standing: &[Option<Standing>],
        places: &[Belongs],
    ) -> Result<()> {
        let first = &case.lost[0];
        let table = &self.tables[first.table];
        let outcome = first.winner_row.as_deref();
        for (at, standing) in standing.iter().enumerate() {
            let (node, name) = (NodeId(at as u16), &self.names[at]);
            if let Some(waits) = opened.parked(node, first.table, &first.key) {
                return Err(Error::Stopped(format!(
                    "at `{name}` a version of the row waits ({}); see `concord parked list`, or add --force to write all the same",
                    waits.message
                )));
            }
            let (Some(standing), Some(form)) = (standing, table.form(node)) else { continue };
            let same = match (&standing.row, outcome) {
                (None, None) => true,
                (None, Some(_)) => match places.get(at) {
                    Some(Belongs::Outside) => true,
                    Some(Belongs::Unknown(why)) => {
                        return Err(Error::Stopped(format!(
                            "nothing tells whether the row was deleted at `{name}` or does not belong there: {why}\n    add --force \
                             to write all the same"
                        )));
                    }
                    Some(Belongs::Inside) | None => false,
                },
                (Some(row), Some(outcome)) => {
                    let told = |column: &usize| form.lens.has(*column) && !first.winner_unknown.contains(column);
                    (0..table.columns.len()).filter(told).all(|column| row[column] == outcome[column])
                }
                _ => false,
            };
            if !same {
                let now = standing.row.as_ref().map_or("deleted".to_owned(), |row| table.row_document(row).to_string());
                let how = match case.overturned {
                    0 => "add --force to overwrite that".to_owned(),
                    last => format!(
                        "this decision was overturned before, see {id}.{last}: `concord conflicts resolve {id}.{last} --undo` \
                         takes that back, and --force overwrites what stands",
                        id = first.id
                    ),
                };
                return Err(Error::Stopped(format!(
                    "the row was changed since: at `{name}` it is now {now}\n    {how}"
                )));
            }
        }
        Ok(())
    }

    /// Refuses if somebody is away: a change made there before would count as older than what is written now, and lose against it.
    fn refuse_what_nobody_can_tell(&self) -> Result<()> {
        let away = self.away();
        if away.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<String> = away.iter().map(|away| format!("node `{}`: {}", away.node, away.why)).collect();
        lines.push(
            "it could not be asked whether the row was changed there; add --force to write all the same".to_owned(),
        );
        match away.iter().any(|away| away.unreachable) {
            true => Err(Error::Unreachable(lines)),
            false => Err(Error::Stopped(lines.join("\n"))),
        }
    }

    /// Writes the row, and what it overturns into the journal, if nobody has been there since.
    async fn write_resolved(
        &mut self,
        opened: &Opened,
        at: NodeId,
        lost: &Lost,
        standing: &Standing,
        row: Option<&Row>,
    ) -> Result<()> {
        let table = &self.tables[lost.table];
        let Some(form) = table.form(at) else {
            return Err(Error::Internal("a table was lost on the way".to_owned()));
        };
        let read = &standing.read;
        let local = match row {
            None => None,
            Some(row) => {
                let current = standing.current.clone().map(Ok);
                match form.write_apart(Arc::new(row.clone()), current).await {
                    Effect::Write(local, _) => Some(local),
                    Effect::Park(_, why) => return Err(Error::Usage(why)),
                    Effect::Keep | Effect::Delete => None,
                }
            }
        };
        let stays: Vec<Move> = self.stays(opened, table, at).collect();
        let specs = [(*form.spec).clone()];
        let [spec] = &specs;
        fault::point("resolve-checked").await?;
        let member = &mut self.members[at.index()];
        let Some(node) = member.node.as_deref_mut() else { return Err(self.unreachable()) };
        let writing = async {
            node.begin_apply(&specs).await?;
            let waits = [(lost.table, &lost.key, opened.parked(at, lost.table, &lost.key))];
            let claimed = node.claim(&stays).await? && node::apply::waits_as_read(node, &specs, &waits).await?;
            let fresh = claimed && {
                node.write_as_user(spec, &lost.key, local.as_deref()).await?;
                node.unseen(spec, read, &[&lost.key]).await?.is_empty()
            };
            if !fresh {
                node.rollback().await?;
                return Ok::<bool, node::Error>(false);
            }
            node.record(&specs, &[lost], true).await?;
            node.commit().await?;
            Ok(true)
        };
        match writing.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Stopped(format!(
                "the row was changed at `{}` at this very moment; nothing was written. Look at it again, and repeat the command",
                member.name
            ))),
            Err(error) => {
                let name = member.name.clone();
                give_up(node, &name).await?;
                Err(Error::at(&name, "writing the row")(error))
            }
        }
    }
}

async fn give_up(node: &mut dyn Node, name: &str) -> Result<()> {
    node.rollback().await.map_err(Error::at(name, "giving the write up"))
}

enum Chosen {
    /// With the columns of which it does not tell, so that what stands there stays.
    Version(Option<Arc<Row>>, Vec<usize>),
    Columns(Option<Map<String, Document>>),
}

/// A version, with what stands in the columns of which it does not tell.
fn with_known(row: &Row, unknown: Vec<usize>, standing: Option<&[Value]>) -> Row {
    let mut row = row.clone();
    for column in unknown {
        if let Some(standing) = standing {
            row[column] = standing[column].clone();
        }
    }
    row
}

/// A whole row of the columns that a person gave, and of what stands in the others.
fn filled(table: &Table, key: &Key, columns: &Map<String, Document>, standing: Option<&[Value]>) -> Result<Row> {
    let known = || table.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = columns.keys().find(|name| !table.columns.iter().any(|column| column.name == **name)) {
        return Err(Error::Usage(format!("`{}` has no column `{unknown}`; it has: {}", table.name, known())));
    }
    let mut row: Vec<Value> = Vec::with_capacity(table.columns.len());
    for (at, column) in table.columns.iter().enumerate() {
        let place = table.key.iter().position(|&place| place == at);
        row.push(match (columns.get(&column.name), place, standing) {
            (Some(document), ..) => given(&column.ty, document).ok_or_else(|| {
                Error::Usage(format!(
                    "the value of `{}` is no {}: {document}; write it as `conflicts show --json` does",
                    column.name, column.ty
                ))
            })?,
            (None, Some(place), _) => key[place].clone(),
            (None, None, Some(standing)) => standing[at].clone(),
            (None, None, None) => {
                let name = &column.name;
                return Err(Error::Usage(format!("the row is deleted, so `{name}` must be given, at least as null")));
            }
        });
    }
    let of_key: Key = table.key.iter().map(|&place| row[place].clone()).collect();
    if of_key != *key {
        let (given, meant) = (table.key_document(&of_key), table.key_document(key));
        return Err(Error::Usage(format!("the key of the row is {given}, and the conflict is about {meant}")));
    }
    Ok(row.into())
}

/// A value as a person writes it: as reports show it, or a number where a float is meant.
fn given(ty: &Type, document: &Document) -> Option<Value> {
    match (ty, document) {
        (Type::Float, Document::Number(number)) => number.as_f64().map(Value::Float),
        // Where a column takes anything, a number is one, with a fraction or without.
        (Type::Any, Document::Number(number)) => {
            value_from_json(ty, document).or_else(|| number.as_f64().map(Value::Float))
        }
        (Type::Decimal, Document::Number(number)) => value_from_json(ty, &Document::String(number.to_string())),
        _ => written_value_from_json(ty, document),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_given_as_json_has_to_be_json() {
        for ty in [Type::Json, Type::Any] {
            assert!(given(&ty, &json!({"json": "[1]"})).is_some());
            assert_eq!(given(&ty, &json!({"json": "no json"})), None);
        }
    }
}
