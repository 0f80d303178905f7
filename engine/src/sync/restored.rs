//! Nodes that were restored from a backup or replaced: how they give themselves away, and that they are left out.
//!
//! Each node remembers how far it has come in every other's history, with the last entries before that as a witness; and
//! each remembers the witnesses of the others' positions that it purged. Where a history goes on as it was, what the two
//! say fits together.

use std::collections::HashSet;

use futures::future::join_all;
use tracing::info;

use super::attendance::Away;
use super::opened::{Opened, When};
use super::session::Session;
use super::table::Table;
use crate::error::{Error, Result};
use crate::model::{Cut, EntryId, NodeId, TableSpec};

/// What two nodes say that does not fit together.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarrel {
    pub accused: NodeId,
    pub accuser: NodeId,
    /// What is the matter with the accused.
    pub why: String,
    /// The installation that was there, if it is certain that another one is there now, and that is all the matter.
    pub former: Option<String>,
}

/// A node that is left out until those who accuse it are there and have nothing more to say against it.
#[derive(Clone, Debug, PartialEq)]
pub struct Restored {
    pub why: String,
    accusers: Vec<NodeId>,
    /// The installation that is accused.
    pub installation: String,
    /// The installation that was there, if nobody says more than that another one is there now.
    pub former: Option<String>,
    /// Where others' positions in its history stood: the target, the table's shared name, the cut.
    pub positions: Vec<(NodeId, String, Cut)>,
}

/// How it began, where nothing tells more.
const PUT_BACK: &str = "it was restored from a backup or replaced";

/// What to do about it.
const REMEDY: &str =
    "run `concord load`, which compares its rows with those of the other nodes and lets it take part again";

impl Opened {
    /// The witnesses that a source has to know and that are not among those it remembers, each with its table and target.
    fn unkept(&self, tables: &[Table], source: NodeId) -> Vec<(usize, NodeId, EntryId)> {
        let Some(presence) = &self.present[source.index()] else { return Vec::new() };
        let mut unkept = Vec::new();
        for table in tables.iter().filter(|table| table.is_source(source) && table.spec(source).is_some()) {
            let kept = &presence.kept[table.index];
            for (target, _) in self.nodes().filter(|(target, _)| *target != source && table.is_target(*target)) {
                let witness = &self.proven(table.index, target, source).witness;
                let entries = witness.iter().flat_map(|witness| &witness.entries);
                let unknown = entries.filter(|entry| !kept.iter().any(|(_, kept)| kept == *entry));
                unkept.extend(unknown.map(|entry| (table.index, target, *entry)));
            }
        }
        unkept
    }

    /// The witnesses of the positions that targets hold on a source's history.
    pub fn witnesses<'a>(
        &'a self,
        table: &'a Table,
        source: NodeId,
        names: &'a [String],
        when: When,
    ) -> impl Iterator<Item = (&'a str, EntryId)> {
        let targets = self.nodes().map(|(target, _)| target);
        let targets = targets.filter(move |&target| target != source && table.is_target(target));
        targets.flat_map(move |target| {
            let witness = &self.reached(table.index, target, source, when).witness;
            let entries = witness.iter().flat_map(|witness| &witness.entries);
            entries.map(move |entry| (names[target.index()].as_str(), *entry))
        })
    }
}

/// What the nodes' service tables say against each other.
///
/// The snapshots of one look are not of one moment, and another engine may be at work. So what was applied and purged at
/// the first look is compared with what is given out and applied at the second, which has come at least as far where no
/// history was lost; and that a source does not know the witness of a position counts only if the position is the same
/// before and after the source was asked.
pub fn quarrels(looks: [&Opened; 3], names: &[String], tables: &[Table]) -> Vec<Quarrel> {
    let [first, second, third] = looks;
    let mut quarrels = Vec::new();
    let everybody = || first.nodes().map(|(node, _)| node).filter(|&node| second.is_present(node));
    for table in tables {
        // What a table that stands still says was not read everywhere.
        let takes_part = |node: &NodeId| table.spec(*node).is_some();
        for source in everybody().filter(|&source| table.is_source(source)).filter(takes_part) {
            let targets = everybody().filter(|&target| target != source && table.is_target(target)).filter(takes_part);
            for target in targets {
                let positions = looks.map(|look| look.proven(table.index, target, source));
                let same = third.is_present(source)
                    && third.is_present(target)
                    && positions[0] == positions[1]
                    && positions[1] == positions[2];
                let unproven = same && second.unproven.contains(&(table.index, target, source));
                let pair = Pair { table, source, target, names };
                if let Some(why) = pair.behind(first, &positions[1].cut) {
                    quarrels.push(Quarrel { accused: target, accuser: source, why, former: None });
                } else if let Some(why) = pair.behind(second, &positions[2].cut).filter(|_| unproven) {
                    quarrels.push(Quarrel { accused: target, accuser: source, why, former: None });
                } else if pair.is_ahead(first, second) || unproven {
                    quarrels.push(pair.lost(first, second));
                }
            }
        }
    }
    quarrels
}

/// A source and a target of one table.
struct Pair<'a> {
    table: &'a Table,
    source: NodeId,
    target: NodeId,
    names: &'a [String],
}

impl Pair<'_> {
    /// Whether the target has applied more, at a first look, than the source has given out at a later one.
    fn is_ahead(&self, before: &Opened, later: &Opened) -> bool {
        let (table, source) = (self.table.index, self.source.index());
        let next = later.present[source].as_ref().map_or(i64::MAX, |source| source.next_marks[table]);
        before.position(table, self.target, self.source).next() > next
    }

    /// Why the target must have forgotten what it had applied, if it stands at `position` after the source said what it
    /// knows.
    fn behind(&self, before: &Opened, position: &Cut) -> Option<String> {
        let knows = before.present[self.source.index()].as_ref()?;
        let kept = knows.kept[self.table.index].iter().filter(|(target, _)| *target == self.target);
        let had_come_further = kept.into_iter().any(|(_, entry)| !position.contains(entry.mark, entry.id));
        let (table, source) = (&self.table.name, &self.names[self.source.index()]);
        if *position == Cut::START && had_come_further {
            Some(format!(
                "{PUT_BACK}, or Concord was installed there anew: {source} knows that it had applied changes of `{table}`, \
                 and it knows of none"
            ))
        } else if had_come_further {
            Some(format!(
                "{PUT_BACK}: {source} knows that it had applied more changes of `{table}` than it knows of itself"
            ))
        } else if position.includes(&knows.purged[self.table.index]) {
            None
        } else if *position == Cut::START {
            Some(format!(
                "it joins the sync late, or was replaced: it has applied no changes of `{table}`, and {source} no longer keeps \
                 all of them"
            ))
        } else {
            Some(format!(
                "{PUT_BACK}, or was out of the file for a while: it has not applied changes of `{table}` that {source} no longer \
                 keeps"
            ))
        }
    }

    /// What the target says of a source that no longer knows what the target has applied.
    fn lost(&self, before: &Opened, later: &Opened) -> Quarrel {
        let (table, target) = (&self.table.name, &self.names[self.target.index()]);
        let witness = &before.proven(self.table.index, self.target, self.source).witness;
        let installation = later.present[self.source.index()].as_ref().map(|source| &source.installation);
        let known = witness.as_ref().map(|witness| &witness.installation);
        let former = known.filter(|known| Some(*known) != installation).cloned();
        let why = match former.is_some() {
            true => format!(
                "Concord was installed there anew, or its database is another one: {target} has applied changes of `{table}` \
                 from the former installation"
            ),
            false => format!("{PUT_BACK}: {target} has applied changes of `{table}` that it no longer has"),
        };
        Quarrel { accused: self.source, accuser: self.target, why, former }
    }
}

/// Whom to leave out so that the others agree: again and again the node that most others accuse. What it says against
/// others does not count.
fn culprits(mut quarrels: Vec<Quarrel>) -> Vec<(NodeId, Restored)> {
    let mut culprits = Vec::new();
    loop {
        let accusers = |node: NodeId| {
            let against = quarrels.iter().filter(move |quarrel| quarrel.accused == node);
            against.map(|quarrel| quarrel.accuser).collect::<HashSet<_>>().into_iter().collect::<Vec<_>>()
        };
        let accused = quarrels.iter().map(|quarrel| quarrel.accused);
        let Some(worst) = accused.max_by_key(|&node| (accusers(node).len(), std::cmp::Reverse(node))) else {
            return culprits;
        };
        let against = quarrels.iter().filter(|quarrel| quarrel.accused == worst);
        let why = against.clone().min_by_key(|quarrel| quarrel.former.is_none()).map(|quarrel| quarrel.why.clone());
        let mut formers = against.map(|quarrel| &quarrel.former);
        let former = formers.next().cloned().flatten();
        let former = former.filter(|former| formers.all(|other| other.as_ref() == Some(former)));
        culprits.push((
            worst,
            Restored {
                why: why.unwrap_or_default(),
                accusers: accusers(worst),
                installation: String::new(),
                former,
                positions: Vec::new(),
            },
        ));
        quarrels.retain(|quarrel| quarrel.accused != worst && quarrel.accuser != worst);
    }
}

impl Restored {
    /// Notes what is accused, as the look showed it with which the accusing began.
    fn stood(&mut self, first: &Opened, node: NodeId, tables: &[Table]) {
        if let Some(presence) = &first.present[node.index()] {
            self.installation.clone_from(&presence.installation);
        }
        for table in tables.iter().filter(|table| table.is_source(node) && table.spec(node).is_some()) {
            let targets = first.nodes().map(|(target, _)| target).filter(|&target| target != node);
            let targets = targets.filter(|&target| table.is_target(target) && table.spec(target).is_some());
            let standing = |target| (target, table.name.clone(), first.position(table.index, target, node).clone());
            self.positions.extend(targets.map(standing));
        }
    }
}

impl Session {
    /// Opens a snapshot at every node that is there, and finds out how far everybody has come. Nodes that were restored
    /// or replaced are left out.
    pub(super) async fn open(&mut self) -> Result<Opened> {
        let known = self.away();
        let mut opened = self.look().await?;
        let mut found = Vec::new();
        if !quarrels([&opened; 3], &self.names, &self.tables).is_empty() {
            self.close().await;
            let second = self.look().await?;
            self.close().await;
            let first = std::mem::replace(&mut opened, self.look().await?);
            let quarrels = quarrels([&first, &second, &opened], &self.names, &self.tables);
            found = culprits(quarrels);
            for (node, restored) in &mut found {
                restored.stood(&first, *node, &self.tables);
            }
            opened.doubtful = true;
        }
        let is_let_in = self.leave_out_restored(&mut opened, found, &known);
        // What is left may come of another engine's work between the snapshots.
        opened.doubtful = opened.doubtful && !quarrels([&opened; 3], &self.names, &self.tables).is_empty();
        // A load may still be at work there.
        opened.doubtful |= is_let_in && !self.loads;
        Ok(opened)
    }

    /// Whether somebody takes part again.
    fn leave_out_restored(
        &mut self,
        opened: &mut Opened,
        mut culprits: Vec<(NodeId, Restored)>,
        known: &[Away],
    ) -> bool {
        let mut is_let_in = false;
        for member in &mut self.members {
            // A load may be letting in who was put back while nobody was there to accuse it.
            let presence = opened.present[member.id.index()].as_ref();
            if presence.is_some_and(|now| member.life.take_if(|life| *life != now.installation).is_some()) {
                (is_let_in, member.prepared) = (true, false);
            }
            let found = culprits.iter().position(|(node, _)| *node == member.id);
            match found.map(|at| culprits.swap_remove(at).1) {
                Some(restored) => member.restored = Some(restored),
                None => {
                    let all_there =
                        |restored: &mut Restored| restored.accusers.iter().all(|accuser| opened.is_present(*accuser));
                    if member.restored.take_if(all_there).is_some() {
                        (is_let_in, member.prepared) = (true, false);
                    }
                }
            }
        }
        for member in &mut self.members {
            let Some(restored) = member.restored.as_ref().filter(|_| opened.is_present(member.id)) else { continue };
            let away =
                Away { node: member.name.clone(), why: format!("{}; {REMEDY}", restored.why), unreachable: false };
            if !known.contains(&away) {
                info!(node = %member.name, why = %away.why, "A node is left out.");
            }
            member.away = Some(away);
            opened.present[member.id.index()] = None;
        }
        is_let_in
    }

    /// Asks every source, in its snapshot, for the witnesses of the positions that others hold on it.
    pub(super) async fn ask_for_witnesses(&mut self, opened: &mut Opened) -> Result<()> {
        let (tables, seen) = (&self.tables, &*opened);
        let asking = join_all(self.members.iter_mut().map(async |member| {
            let unkept = seen.unkept(tables, member.id);
            let node = member.node.as_deref_mut().filter(|_| !unkept.is_empty())?;
            let wanted: Vec<(&TableSpec, EntryId)> = unkept
                .iter()
                .filter_map(|(table, _, entry)| Some((&**tables[*table].spec(member.id)?, *entry)))
                .collect();
            let held = node.holds(&wanted).await;
            Some((member.id, unkept, held))
        }))
        .await;
        for (source, unkept, held) in asking.into_iter().flatten() {
            let member = &mut self.members[source.index()];
            match held {
                Ok(held) => {
                    let missing = unkept.iter().zip(held).filter(|(_, held)| !held);
                    opened.unproven.extend(missing.map(|((table, target, _), _)| (*table, *target, source)));
                }
                Err(error) if error.is_absence() => {
                    member.leave(&error);
                    opened.present[source.index()] = None;
                }
                Err(error) => return Err(Error::at(&member.name, "looking for entries that were applied")(error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(quarrels: &[(u16, u16)]) -> Vec<u16> {
        let quarrel = |&(accused, accuser): &(u16, u16)| Quarrel {
            accused: NodeId(accused),
            accuser: NodeId(accuser),
            why: String::new(),
            former: None,
        };
        culprits(quarrels.iter().map(quarrel).collect()).into_iter().map(|(node, _)| node.0).collect()
    }

    #[test]
    fn whoever_most_others_accuse_is_left_out() {
        assert_eq!(left_out(&[]), [] as [u16; 0]);
        // Another sync's database in the place of the last node: everybody finds fault with everybody else's partner.
        assert_eq!(left_out(&[(0, 2), (1, 2), (2, 0), (2, 1)]), [2]);
        // Two were put back together; whoever notices is none of them.
        assert_eq!(left_out(&[(0, 2), (1, 2)]), [0, 1]);
    }
}
