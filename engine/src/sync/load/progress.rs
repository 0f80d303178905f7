//! How far a load has come, remembered at the node whose rows it goes through. All others remember that it has begun, so that one which
//! was put back to before that gives itself away; one that was put back to a moment of the same load does not. A node that was let in
//! remembers besides that its rows were not compared to the end.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Document;

use super::{Leg, LoadOptions};
use crate::digest::short_digest;
use crate::error::{Error, Result};
use crate::fault;
use crate::model::{Key, NodeId, key_value_from_json, key_value_to_json};
use crate::node::{self, Node};
use crate::sync::rejoin::Renewed;
use crate::sync::session::Session;
use crate::sync::table::Table;

/// How often it is looked, and after how long each time, whether another load comes any further. One that needs longer for a part is not
/// noticed, and finds out what has happened by itself.
const LOOKS: u32 = 8;
const PAUSE: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_millis(250) };

/// What tells a load from others: one that is called in another way, or that finds other databases, begins anew.
pub struct Progress {
    mark: String,
    /// What tells it from others that were called in the same way: drawn where it began.
    run: String,
    /// Whether something was left out that nobody would come back to.
    gaps: bool,
    /// Whether all rows of all tables are to be gone through.
    whole: bool,
    /// Nodes whose rows were not compared to the end since they were let in.
    pub let_in: Vec<NodeId>,
    /// The installations whose rows are gone through, by node.
    lives: Vec<String>,
}

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    load: String,
    #[serde(default)]
    run: String,
    /// Empty where nothing was gone through yet, as the node is then.
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
        let mut lives = vec![String::new(); session.members.len()];
        for member in &mut session.members {
            let Some(node) = member.node.as_deref_mut() else { continue };
            let kept = node.progress().await.map_err(Error::at(&member.name, "reading how far a load has come"))?;
            let_in.extend(kept.as_deref().and_then(Renewed::read).map(|_| member.id));
            let service = node.service().await.map_err(Error::at(&member.name, "reading the service tables"))?;
            let Some(service) = service else { continue };
            text += &format!(" {}", service.uuid);
            lives[member.id.index()] = service.uuid;
        }
        for table in session.tables.iter().filter(|table| !table.compared) {
            text += &format!("\n{} {} {:?}", table.name, table.kept(), (table.from, table.operations, table.updated));
            // A row that was copied without a column is not copied again for it.
            let shapes = (0..session.names.len()).filter_map(|at| Some(table.spec(NodeId(at as u16))?.shape.as_str()));
            text += &shapes.collect::<String>();
        }
        let mark = short_digest(text);
        let whole = all && tables.is_empty() && condition.is_none();
        let run = uuid::Uuid::new_v4().to_string();
        Ok(Progress { mark, run, gaps: false, whole, let_in, lives })
    }

    /// The installations of the nodes that were let in.
    pub fn let_in_lives(&self) -> Vec<(NodeId, String)> {
        self.let_in.iter().map(|node| (*node, self.lives[node.index()].clone())).collect()
    }

    /// Where an interrupted load goes on: the place in the list of legs, and the key behind which. It does so only where every node
    /// remembers that it began: rows that came to the others are in no history that would tell what one has lost of them. What a node
    /// has lost that was put back to a moment after that is not found.
    pub async fn find(&mut self, session: &mut Session, legs: &[Leg]) -> Result<Option<(usize, Option<Key>)>> {
        let (mut found, mut runs) = (None, Vec::new());
        for at in 0..session.members.len() {
            let member = &mut session.members[at];
            let Some(node) = member.node.as_deref_mut() else { continue };
            let kept = node.progress().await.map_err(Error::at(&member.name, "reading how far a load has come"))?;
            let kept = kept.and_then(|text| serde_json::from_str::<Kept>(&text).ok());
            let kept = kept.filter(|kept| kept.load == self.mark);
            runs.push(kept.as_ref().map(|kept| kept.run.clone()));
            let Some(kept) = kept else { continue };
            let here = |leg: &Leg| {
                session.tables[leg.table].name == kept.table && session.names[leg.walker.index()] == kept.node
            };
            let Some(place) = legs.iter().position(here) else { continue };
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
        match runs.pop().flatten() {
            // Whoever begins anew is another one.
            Some(run) if found.is_some() && runs.iter().all(|other| other.as_ref() == Some(&run)) => self.run = run,
            _ => found = None,
        }
        Ok(found)
    }

    /// Every node remembers that the load begins, and nothing of any other.
    pub async fn begin(&self, session: &mut Session) -> Result<()> {
        Progress::forget(session).await?;
        for at in 0..session.members.len() {
            match self.keep(session, NodeId(at as u16), String::new(), String::new(), None).await {
                // Where that is not remembered no other load goes on with this one.
                Err(Error::Node { source, .. }) if source.is_lock() => {}
                kept => kept?,
            }
        }
        Ok(())
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
        let table = &session.tables[leg.table];
        let types = table.key.iter().map(|&column| &table.columns[column].ty);
        let after = after.map(|key| types.zip(key).map(|(ty, value)| key_value_to_json(ty, value)).collect());
        let (table, node) = (table.name.clone(), session.names[leg.walker.index()].clone());
        self.keep(session, leg.walker, table, node, after).await?;
        fault::point("load-remembered").await?;
        Ok(())
    }

    async fn keep(
        &self,
        session: &mut Session,
        at: NodeId,
        table: String,
        node: String,
        after: Option<Vec<Document>>,
    ) -> Result<()> {
        let member = &mut session.members[at.index()];
        let Some(connected) = member.node.as_deref_mut() else { return Ok(()) };
        let doing = || Error::at(&member.name, "remembering how far the load is");
        // Another load may have come to its end meanwhile.
        let before = connected.progress().await.map_err(doing())?;
        let follows = before.as_deref().and_then(Renewed::read).map(|renewed| renewed.follows);
        let kept = Kept { load: self.mark.clone(), run: self.run.clone(), table, node, after, follows };
        let text = serde_json::to_string(&kept).map_err(|why| Error::Internal(format!("writing JSON: {why}")))?;
        connected.set_progress(Some(&text)).await.map_err(doing())
    }

    /// What is remembered of how far a load has come is not to be gone on with.
    pub async fn forget(session: &mut Session) -> Result<()> {
        forget(session, Lives::Kept).await.map(drop)
    }

    /// Nothing is to be gone on with. Who was let in and has not everything still, unless all was gone through; so is whoever another
    /// load has let in once more.
    pub async fn end(&self, session: &mut Session) -> Result<Vec<NodeId>> {
        let all = self.whole && !self.gaps && !session.tables.iter().any(Table::stands_still);
        forget(session, if all { Lives::Forgotten(&self.lives) } else { Lives::Kept }).await
    }
}

/// Whether another load that lets these nodes in comes any further while it is watched for a moment.
pub async fn another_is_at_work(session: &mut Session, let_in: &[(NodeId, String)]) -> Result<bool> {
    let first = kept(session).await?;
    let has_begun = |at: NodeId| {
        let kept = first[at.index()].as_deref();
        kept.is_some_and(|kept| serde_json::from_str::<Kept>(kept).is_ok())
    };
    if !let_in.iter().any(|(node, _)| has_begun(*node)) {
        return Ok(false);
    }
    for _ in 0..LOOKS {
        tokio::time::sleep(PAUSE).await;
        if kept(session).await? != first {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is remembered at each node.
async fn kept(session: &mut Session) -> Result<Vec<Option<String>>> {
    let mut all = Vec::with_capacity(session.members.len());
    for member in &mut session.members {
        let Some(node) = member.node.as_deref_mut() else {
            all.push(None);
            continue;
        };
        all.push(node.progress().await.map_err(Error::at(&member.name, "reading how far a load has come"))?);
    }
    Ok(all)
}

/// What a node remembers while all nodes are being reset. [`Renewed::read`] finds in it who is to be let in.
#[derive(Serialize, Deserialize)]
struct Resetting {
    resetting: bool,
    /// Whether what would tell who was put back may be gone there.
    #[serde(default)]
    emptying: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    follows: Option<String>,
}

/// Notes that a node is being reset, and whether that may have come as far as `emptying` it. No load goes on with what it had reached there,
/// which may lose what it has not taken yet. Whoever is `accused`, or was let in and not compared to the end, is to be let in after that:
/// its rows are as old as they were, and nothing else will tell that.
pub async fn begin_reset(node: &mut dyn Node, accused: bool, emptying: bool) -> node::Result<()> {
    let Some(service) = node.service().await? else { return Ok(()) };
    let is_out = accused || node.progress().await?.as_deref().and_then(Renewed::read).is_some();
    // The life that it has now is the one that the next begins after.
    let resetting = Resetting { resetting: true, emptying, follows: is_out.then_some(service.uuid) };
    let text = serde_json::to_string(&resetting)
        .map_err(|why| node::Error::new(node::ErrorKind::Other, format!("writing JSON: {why}")))?;
    node.set_progress(Some(&text)).await
}

/// Whether a reset has begun to empty a node, and not come to its end at all.
pub async fn is_being_emptied(node: &mut dyn Node) -> node::Result<bool> {
    let kept = node.progress().await?;
    Ok(kept.is_some_and(|kept| serde_json::from_str::<Resetting>(&kept).is_ok_and(|kept| kept.emptying)))
}

/// Notes that all nodes are reset. Returns those that are to be let in.
pub async fn end_reset(session: &mut Session) -> Result<Vec<NodeId>> {
    forget(session, Lives::Kept).await
}

/// What becomes of the notes about nodes that were let in.
#[derive(Clone, Copy)]
enum Lives<'a> {
    Kept,
    /// Of nodes, in their order, at which these are installed.
    Forgotten(&'a [String]),
}

/// Forgets how far a load was; who was let in by the notes that are left.
async fn forget(session: &mut Session, lives: Lives<'_>) -> Result<Vec<NodeId>> {
    let mut unfinished = Vec::new();
    for member in &mut session.members {
        let Some(node) = member.node.as_deref_mut() else { continue };
        let doing = || Error::at(&member.name, "forgetting how far the load was");
        let Some(kept) = node.progress().await.map_err(doing())? else { continue };
        let is_over = match lives {
            Lives::Kept => false,
            Lives::Forgotten(walked) => {
                let service = node.service().await.map_err(doing())?;
                service.is_none_or(|service| service.uuid == walked[member.id.index()])
            }
        };
        let left = match Renewed::read(&kept).filter(|_| !is_over) {
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
