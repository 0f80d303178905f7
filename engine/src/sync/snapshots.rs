//! Opening the snapshots, with what each node's service tables and clock say in it.

use std::collections::HashMap;

use futures::future::join_all;
use tracing::{info, warn};

use super::attendance::{self, Away, Otherwise};
use super::contest::Clock;
use super::opened::{Opened, Presence};
use super::session::Session;
use super::turns::UNTOLD;
use crate::config::OnSkew;
use crate::error::Result;
use crate::fault;
use crate::model::{Cut, NodeId, time};
use crate::node::ErrorKind;

impl Session {
    /// Opens the snapshots, each as soon as its node can.
    pub(super) async fn look(&mut self) -> Result<Opened> {
        let (tables, page) = (&self.tables, self.page);
        let opening = join_all(self.members.iter_mut().map(async |member| {
            let specs = Session::specs(tables, member.id);
            let before = time::now();
            // Left over where somebody stopped waiting.
            member.reader = None;
            let node = member.node.as_deref_mut()?;
            let opening = async {
                fault::point("open").await?;
                node.take_at_once(page);
                node.begin_read(&specs).await
            };
            Some((opening.await, before, time::now()))
        }))
        .await;
        let mut opened = Opened::new(self.members.len(), self.tables.len());
        for (at, result) in opening.into_iter().enumerate() {
            let Some((result, before, after)) = result else { continue };
            let member = &mut self.members[at];
            let state = match result {
                Ok(state) => state,
                Err(error) => {
                    member.leave(&match error.kind {
                        ErrorKind::Drift => {
                            error.while_doing("service tables are missing; `concord install` repairs them")
                        }
                        _ => error,
                    });
                    continue;
                }
            };
            // It may have been installed for another file since it was looked at.
            if let Some(why) = attendance::misfit(&self.config.name, &self.names, at, Some(&state.service)) {
                member.leave_out(why);
                continue;
            }
            // So may a table.
            for table in &mut self.tables {
                let installed = state.service.shape(&table.name);
                let spec = table.spec(NodeId(at as u16));
                let otherwise = |spec: &_| attendance::installed_otherwise(installed, table, spec, &self.refilters);
                let name = &self.members[at].name;
                match spec.and_then(|spec| otherwise(spec)) {
                    // A report is made of it all the same.
                    None => continue,
                    Some(Otherwise::Filters(_)) if table.filtered_otherwise.is_some() => continue,
                    Some(Otherwise::Filters(why)) => table.stop_for_filters(name, &why),
                    Some(Otherwise::Omits(why)) => table.stop(name, &why),
                }
                self.members[at].prepared = false;
            }
            // Within the error of the measurement a clock counts as right: noise must not decide conflicts.
            let (middle, error) = (before + (after - before) / 2, (after - before) / 2 + 1_000);
            let offset = Some(state.clock - middle).filter(|offset| offset.abs() > error).unwrap_or(0);
            if !self.accept_clock(at, offset) {
                continue;
            }
            for (table, drift) in &state.drifted {
                self.tables[*table].stop(&self.members[at].name, &drift.what);
                // What was looked up is not what is there now.
                self.members[at].prepared = false;
            }
            let named = |name: &str| self.names.iter().position(|known| known == name).map(|at| NodeId(at as u16));
            for (table, source, position) in state.positions {
                if source == UNTOLD {
                    opened.set_turn(table, NodeId(at as u16), position.cut);
                } else if let Some(source) = named(&source) {
                    opened.set_position(table, NodeId(at as u16), source, position);
                }
            }
            let mut kept = vec![Vec::new(); self.tables.len()];
            for (table, target, entry) in state.kept {
                kept[table].extend(named(&target).map(|target| (target, entry)));
            }
            let mut parked = vec![HashMap::new(); self.tables.len()];
            for row in state.parked {
                parked[row.table].insert(row.key.clone(), row);
            }
            let mut purged = vec![Cut::START; self.tables.len()];
            state.purged.into_iter().for_each(|(table, cut)| purged[table] = cut);
            let mut next_marks = vec![i64::MAX; self.tables.len()];
            state.next_marks.into_iter().for_each(|(table, mark)| next_marks[table] = mark);
            let clock = Clock { offset, shown: state.clock };
            opened.present[at] = Some(Presence {
                clock,
                shared_marks: state.shared_marks,
                installation: state.service.uuid,
                parked,
                purged,
                kept,
                next_marks,
            });
        }
        self.ask_for_witnesses(&mut opened).await?;
        Ok(opened)
    }

    /// Whether a node with this clock takes part. Reports a skew, and stops the node if so configured.
    fn accept_clock(&mut self, at: usize, offset: i64) -> bool {
        let member = &mut self.members[at];
        if member.away.as_ref().is_some_and(|away| !away.unreachable) {
            member.away = None;
        }
        let limit = self.config.defaults.max_skew.as_micros() as i64;
        let known = std::mem::replace(&mut member.skewed, offset.abs() > limit);
        if !member.skewed {
            return true;
        }
        let why = format!("its clock is off by {:.1} s, more than max_skew", offset as f64 / 1e6);
        if self.config.defaults.on_skew == OnSkew::Warn {
            if !known {
                warn!(node = %member.name, %why, "A clock is wrong; times are corrected by what was measured.");
            }
            return true;
        }
        info!(node = %member.name, %why, "A node is left out.");
        member.away = Some(Away { node: member.name.clone(), why, unreachable: false });
        false
    }
}
