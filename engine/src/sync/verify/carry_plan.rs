//! Carrying out a plan: what it says is written where what it was made of still stands.

use std::collections::HashMap;
use std::path::Path;

use super::super::attendance::Away;
use super::super::session::{Session, Stopped};
use super::mend::Mend;
use super::plan::PlanReader;
use super::report::Left;
use super::tangle::Tangle;
use super::{KNOT_LIMIT, MENDS_LIMIT, Verified, VerifiedTable, all_if_none, comparable_nodes, look};
use crate::error::{Error, Result, UNREACHABLE};
use crate::model::Key;

/// How often a group is tried while somebody else is at work on its rows.
const ATTEMPTS: u32 = 5;

impl Session {
    /// Writes what a plan of [`Session::verify`] says. All of it is read, and refused if any of it does not fit the tables,
    /// before anything is written. Rows that are not any more what the plan was made of are left alone.
    pub async fn carry_out_plan(&mut self, path: &Path, limit: usize) -> Result<Verified> {
        self.prepare_any().await?;
        self.agree_on_compared(false).await;
        if self.members.iter().any(|member| member.node.is_none()) {
            return Err(self.unreachable());
        }
        if let Some(stopped) = self.stopped().into_iter().next() {
            return Err(stands_still(&stopped));
        }
        let mut plan = PlanReader::open(path, &self.config.name, &self.names)?;
        while let Some((table, mend)) = plan.next(&self.tables, &self.names)? {
            for (node, row) in &mend.write {
                self.effect(table, *node, row.as_deref(), None).map_err(|why| plan.wrong(&why))?;
            }
        }
        let mut verified = Verified::default();
        let carried = self.carry_out_lines(path, all_if_none(limit), &mut verified).await;
        (verified.away, verified.stopped) = (self.away(), self.stopped());
        if let Err(error) = carried {
            self.close().await;
            // What was written is to be told, whatever became of the rest.
            let wrote = verified.tables.iter().any(|table| !table.carried.is_empty());
            let unreachable = error.exit_code() == UNREACHABLE;
            match error {
                Error::Node { node, doing, source } if wrote => {
                    verified.away.retain(|away| away.node != node);
                    verified.away.push(Away { node, why: format!("{doing}: {source}"), unreachable });
                }
                Error::Unreachable(_) | Error::Refused(_) if wrote => {}
                error => return Err(error),
            }
            let rest = "; not all of the plan was carried out: run it again for what is still as it says";
            // None stood still when it was begun.
            let away = verified.away.iter_mut().map(|away| &mut away.why);
            let stopped = verified.stopped.iter_mut().map(|stopped| &mut stopped.why);
            away.chain(stopped).for_each(|why| why.push_str(rest));
        }
        Ok(verified)
    }

    /// The same once it has been read. What is noted in `verified` was done, also where it fails.
    async fn carry_out_lines(&mut self, path: &Path, limit: usize, verified: &mut Verified) -> Result<()> {
        let mut plan = PlanReader::open(path, &self.config.name, &self.names)?;
        let (mut group, mut weight): ((usize, Vec<Mend>), usize) = ((0, Vec::new()), 0);
        let mut refused = Vec::new();
        // By table, in the order of the plan.
        let mut later: Vec<(usize, Vec<Mend>)> = Vec::new();
        loop {
            let next = plan.next(&self.tables, &self.names).map_err(|error| self.told_of_standing_still(error))?;
            let table = next.as_ref().map(|(table, _)| *table);
            let full = weight > MENDS_LIMIT || group.1.len() >= look::TOGETHER || table != Some(group.0);
            if full && !group.1.is_empty() {
                let mends = std::mem::take(&mut group.1);
                self.carry_out_group(group.0, mends, limit, verified, Some(&mut refused)).await?;
                weight = 0;
            }
            if table != Some(group.0) && !refused.is_empty() {
                let left = self.carry_out_refused(group.0, std::mem::take(&mut refused), limit, verified).await?;
                let weight = |mends: &[Mend]| mends.iter().map(Mend::whole_weight).sum::<usize>();
                if later.iter().map(|(_, mends)| weight(mends)).sum::<usize>() + weight(&left) <= KNOT_LIMIT {
                    later.push((group.0, left));
                } else {
                    self.carry_out_group(group.0, left, limit, verified, None).await?;
                }
            }
            let Some((table, mend)) = next else { break };
            weight += mend.whole_weight();
            group.0 = table;
            group.1.push(mend);
        }
        // Rows that were referred to may be free to go, now that those of other tables are gone: children first.
        for (table, refused) in later.into_iter().rev() {
            let left = self.carry_out_refused(table, refused, limit, verified).await?;
            if !left.is_empty() {
                self.carry_out_group(table, left, limit, verified, None).await?;
            }
        }
        Ok(())
    }

    /// Tries rows that were refused once more, in an order in which they can be written, as long as that is of use; those that
    /// still are, of which nothing is reported.
    async fn carry_out_refused(
        &mut self,
        table: usize,
        mut refused: Vec<Mend>,
        limit: usize,
        verified: &mut Verified,
    ) -> Result<Vec<Mend>> {
        let mut before = usize::MAX;
        while !refused.is_empty() && refused.len() < before {
            before = refused.len();
            let mut tangle = Tangle::default();
            let of_table = &self.tables[table];
            let (mends, mut left): (Vec<Mend>, Vec<Mend>) =
                refused.into_iter().partition(|mend| tangle.keep(of_table, mend, &[], 0));
            let mut mends: HashMap<Key, Mend> = mends.into_iter().map(|mend| (mend.key.clone(), mend)).collect();
            for keys in tangle.groups() {
                let group = keys.iter().filter_map(|key| mends.remove(key)).collect();
                self.carry_out_group(table, group, limit, verified, Some(&mut left)).await?;
            }
            refused = left;
        }
        Ok(refused)
    }

    /// Why a line cannot be read any more that could be before anything was written.
    fn told_of_standing_still(&self, error: Error) -> Error {
        match (error, self.stopped().into_iter().next()) {
            (Error::Usage(_), Some(stopped)) => stands_still(&stopped),
            (error, _) => error,
        }
    }

    /// Rows that are refused are put into the list, if there is one with room.
    async fn carry_out_group(
        &mut self,
        table: usize,
        mut mends: Vec<Mend>,
        limit: usize,
        verified: &mut Verified,
        refused: Option<&mut Vec<Mend>>,
    ) -> Result<()> {
        let name = self.tables[table].name.clone();
        let at = verified.tables.iter().position(|known| known.table == name).unwrap_or_else(|| {
            verified.tables.push(VerifiedTable::new(&name));
            verified.tables.len() - 1
        });
        let report = &mut verified.tables[at];
        report.differences += mends.len() as u64;
        for _ in 0..ATTEMPTS {
            let opened = self.open_for(table).await?;
            let nodes = comparable_nodes(&self.tables[table], &opened);
            self.close().await;
            let opened = match nodes.as_deref() {
                Some(nodes) if nodes.len() == self.members.len() => self.open_together(table, nodes).await?,
                _ => {
                    let stopped = self.stopped().into_iter().find(|stopped| stopped.table == name);
                    return Err(stopped.map_or_else(|| self.unreachable(), |stopped| stands_still(&stopped)));
                }
            };
            let (Some(opened), Some(nodes)) = (opened, nodes) else { continue };
            let keys: Vec<Key> = mends.iter().map(|mend| mend.key.clone()).collect();
            let restless = self.restless(table, &nodes, &opened, &keys).await?;
            let mut as_read = Vec::with_capacity(mends.len());
            let mut left = mends.into_iter();
            let (mut rest, mut step) = (keys.as_slice(), Session::first_step());
            while !rest.is_empty() {
                let standing = self.standing_rows(table, &nodes, rest, &mut step).await?;
                rest = &rest[standing.len()..];
                // Who is asked first has no more when the other has.
                for (stands, mend) in standing.into_iter().zip(left.by_ref()) {
                    let standing = &stands.rows;
                    let same = mend
                        .read
                        .iter()
                        .all(|(node, row)| standing.iter().any(|(at, stands)| at == node && stands.is(row.as_deref())));
                    let moving = restless.moving.contains(&mend.key) || restless.waiting.contains(&mend.key);
                    if same && !moving {
                        as_read.push(Mend { locals: stands.locals, ..mend });
                    } else {
                        let why = "what stands there is not what the plan was made of".to_owned();
                        report.leave(&self.tables[table], &mend.key, Left::MovedOn, None, why, limit);
                    }
                }
            }
            self.close().await;
            let mut done = self.mend(table, &opened, as_read).await?;
            let failed = done.failed.take();
            if let Some(refused) = refused.filter(|_| failed.is_none()) {
                let mut room = KNOT_LIMIT.saturating_sub(refused.iter().map(Mend::whole_weight).sum());
                let kept = done.left.extract_if(.., |(mend, because, told)| {
                    // Where a node took it, it is not any more what the plan was made of.
                    let whole = *because == Left::Refused && told.len() == mend.write.len();
                    let fits = whole && mend.whole_weight() <= room;
                    room -= if fits { mend.whole_weight() } else { 0 };
                    fits
                });
                let before = refused.len();
                refused.extend(kept.map(|(mend, ..)| mend));
                report.differences -= (refused.len() - before) as u64;
            }
            report.take(&self.tables[table], done, &self.names, limit);
            return failed.map_or(Ok(()), Err);
        }
        for mend in mends.drain(..) {
            let why = "another engine is at work on this table; run it again".to_owned();
            report.leave(&self.tables[table], &mend.key, Left::MovedOn, None, why, limit);
        }
        Ok(())
    }
}

fn stands_still(stopped: &Stopped) -> Error {
    Error::Refused(vec![format!("table `{}` stands still: {}", stopped.table, stopped.why)])
}
