//! How far a load has come, remembered at the node whose rows it goes through. A node that was let in remembers besides that its
//! rows were not compared to the end.

use serde::{Deserialize, Serialize};
use serde_json::Value as Document;
use sha2::{Digest, Sha256};

use super::{Leg, LoadOptions};
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Key, NodeId, key_value_from_json, key_value_to_json};
use crate::sync::rejoin::Renewed;
use crate::sync::session::Session;
use crate::sync::table::Table;

/// What tells a load from others: one that is called in another way, or that finds other databases, begins anew.
pub struct Progress {
    mark: String,
    /// Whether something was left out that nobody would come back to.
    gaps: bool,
    /// Whether all rows of all tables are to be gone through.
    whole: bool,
    /// Nodes whose rows were not compared to the end since they were let in.
    pub let_in: Vec<NodeId>,
}

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    load: String,
    table: String,
    node: String,
    /// Everything up to this key is dealt with.
    after: Option<Vec<Document>>,
    /// Where a node was let in. [`Renewed::read`] finds it here too, so both have one name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    follows: Option<String>,
}

impl Progress {
    /// `all` if no table stood still when the load was planned.
    pub async fn new(session: &mut Session, options: &LoadOptions, all: bool) -> Result<Progress> {
        let (tables, condition) = (&options.tables, &options.condition);
        let mut text = format!("{:?} {:?} {tables:?} {condition:?}", session.names, options.prefer);
        text += if options.refilter { " refilter" } else { "" };
        // Whoever goes on has the same places to begin at.
        text += if all { "" } else { " not all" };
        let mut let_in = Vec::new();
        for member in &mut session.members {
            let Some(node) = member.node.as_deref_mut() else { continue };
            let kept = node.progress().await.map_err(Error::at(&member.name, "reading how far a load has come"))?;
            let_in.extend(kept.as_deref().and_then(Renewed::read).map(|_| member.id));
            let service = node.service().await.map_err(Error::at(&member.name, "reading the service tables"))?;
            text += &service.map(|service| format!(" {}", service.uuid)).unwrap_or_default();
        }
        for table in session.tables.iter().filter(|table| !table.compared) {
            text += &format!("\n{} {} {:?}", table.name, table.kept(), (table.from, table.operations, table.updated));
            // A row that was copied without a column is not copied again for it.
            let shapes = (0..session.names.len()).filter_map(|at| Some(table.spec(NodeId(at as u16))?.shape.as_str()));
            text += &shapes.collect::<String>();
        }
        let mark = Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let whole = all && tables.is_empty() && condition.is_none();
        Ok(Progress { mark, gaps: false, whole, let_in })
    }

    /// Where an interrupted load goes on: the place in the list of legs, and the key behind which.
    pub async fn find(&self, session: &mut Session, legs: &[Leg]) -> Result<Option<(usize, Option<Key>)>> {
        let mut found = None;
        for at in 0..session.members.len() {
            let member = &mut session.members[at];
            let Some(node) = member.node.as_deref_mut() else { continue };
            let kept = node.progress().await.map_err(Error::at(&member.name, "reading how far a load has come"))?;
            let Some(kept) = kept.and_then(|text| serde_json::from_str::<Kept>(&text).ok()) else { continue };
            let here = |leg: &Leg| {
                session.tables[leg.table].name == kept.table && session.names[leg.walker.index()] == kept.node
            };
            let Some(place) = legs.iter().position(here).filter(|_| kept.load == self.mark) else { continue };
            let table = &session.tables[legs[place].table];
            let types = table.key.iter().map(|&column| &table.columns[column].ty);
            let after: Option<Option<Key>> = match kept.after {
                None => Some(None),
                Some(values) if values.len() == table.key.len() => values
                    .iter()
                    .zip(types)
                    .map(|(value, ty)| key_value_from_json(ty, value))
                    .collect::<Option<Key>>()
                    .map(Some),
                Some(_) => None,
            };
            // Of two, as after a crash between two nodes, the later one counts.
            if let Some(after) = after.filter(|_| found.as_ref().is_none_or(|(known, _)| *known < place)) {
                found = Some((place, after));
            }
        }
        Ok(found)
    }

    /// What stands still is not gone through. Whoever goes on is to begin before it.
    pub fn leave_out(&mut self) {
        self.gaps = true;
    }

    /// Everything up to here is committed everywhere.
    pub async fn reached(&self, session: &mut Session, leg: Leg, after: Option<&Key>) -> Result<()> {
        if self.gaps {
            return Ok(());
        }
        let member = &mut session.members[leg.walker.index()];
        let Some(node) = member.node.as_deref_mut() else { return Ok(()) };
        let doing = || Error::at(&member.name, "remembering how far the load is");
        // Another load may have come to its end meanwhile.
        let before = node.progress().await.map_err(doing())?;
        let table = &session.tables[leg.table];
        let types = table.key.iter().map(|&column| &table.columns[column].ty);
        let kept = Kept {
            load: self.mark.clone(),
            table: table.name.clone(),
            node: session.names[leg.walker.index()].clone(),
            after: after.map(|key| types.zip(key).map(|(ty, value)| key_value_to_json(ty, value)).collect()),
            follows: before.as_deref().and_then(Renewed::read).map(|renewed| renewed.follows),
        };
        let text = serde_json::to_string(&kept).map_err(|why| Error::Internal(format!("writing JSON: {why}")))?;
        node.set_progress(Some(&text)).await.map_err(doing())?;
        fault::point("load-remembered").await?;
        Ok(())
    }

    /// What is remembered of how far a load has come is not to be gone on with.
    pub async fn forget(session: &mut Session) -> Result<()> {
        forget(session, Lives::Kept).await.map(drop)
    }

    /// Nothing is to be gone on with. Who was let in and has not everything still, unless all was gone through.
    pub async fn end(&self, session: &mut Session) -> Result<Vec<NodeId>> {
        let all = self.whole && !self.gaps && !session.tables.iter().any(Table::stands_still);
        forget(session, if all { Lives::Forgotten } else { Lives::Kept }).await
    }
}

/// What becomes of the notes about nodes that were let in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lives {
    Kept,
    Forgotten,
}

/// Forgets how far a load was; who was let in by the notes that are left.
async fn forget(session: &mut Session, lives: Lives) -> Result<Vec<NodeId>> {
    let mut unfinished = Vec::new();
    for member in &mut session.members {
        let Some(node) = member.node.as_deref_mut() else { continue };
        let doing = || Error::at(&member.name, "forgetting how far the load was");
        let Some(kept) = node.progress().await.map_err(doing())? else { continue };
        let left = match Renewed::read(&kept).filter(|_| lives == Lives::Kept) {
            Some(renewed) => {
                unfinished.push(member.id);
                Some(renewed.text()?)
            }
            None => None,
        };
        if left.as_ref() != Some(&kept) {
            node.set_progress(left.as_deref()).await.map_err(doing())?;
        }
    }
    Ok(unfinished)
}
