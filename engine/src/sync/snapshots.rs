//! Opening the snapshots, with what each node's service tables and clock say in it.

use std::collections::HashMap;
use std::time::Instant;

use futures::future::join_all;
use tracing::{info, warn};

use super::attendance::{self, Away, Otherwise};
use super::brought;
use super::contest::Clock;
use super::opened::{Opened, Presence};
use super::session::Session;
use super::turns::UNTOLD;
use crate::config::OnSkew;
use crate::error::Result;
use crate::fault;
use crate::model::{Cut, NodeId, time};
use crate::node::{self, ErrorKind, Node};

impl Session {
    /// Opens the snapshots, each as soon as its node can.
    pub(super) async fn look(&mut self) -> Result<Opened> {
        let mut opening = self.open_all().await;
        if opening.iter().flatten().any(|look| look.is_set) {
            // Some may have been opened before this machine's clock was set, and others after.
            self.close().await;
            opening = self.open_all().await;
        }
        // Nothing is asked of a table that stands still.
        let asked: Vec<bool> = self.tables.iter().map(|table| !table.compared && table.stopped.is_none()).collect();
        let mut opened = Opened::new(self.members.len(), self.tables.len());
        for (member, look) in self.members.iter_mut().zip(&opening) {
            if let Some(Look { result: Ok(state), before, after, .. }) = look {
                member.ahead = Some(offset_of(state.clock, *before, *after));
                member.strays = member.node.as_deref().map_or(0, Node::strays);
            }
        }
        for (at, look) in opening.into_iter().enumerate() {
            let Some(Look { result, before, after, .. }) = look else { continue };
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
                let (node, installed) = (NodeId(at as u16), state.service.shape(&table.name));
                let Some(spec) = table.spec(node).filter(|_| !table.is_as_installed(node, installed)) else { continue };
                if self.members[at].is_reinstalled(table.index, installed, &spec.shape) {
                    table.stop_until_adopted(&self.members[at].name);
                    self.adopted = None;
                    continue;
                }
                let otherwise = attendance::installed_otherwise(installed, table, spec, &self.refilters);
                let name = &self.members[at].name;
                match otherwise {
                    None => {
                        // What is refiltered is another still, and that it may be depends on more than the two.
                        if brought::brought_otherwise(installed, spec).is_none() {
                            table.found_as_installed(node, installed);
                        }
                        continue;
                    }
                    // A report is made of it all the same.
                    Some(Otherwise::Filters(_)) if table.filtered_otherwise.is_some() => continue,
                    Some(Otherwise::Filters(why)) => table.stop_for_filters(name, &why),
                    Some(Otherwise::Carried(why)) => table.stop(name, &why),
                }
                self.members[at].prepared = false;
            }
            let offset = offset_of(state.clock, before, after);
            if !self.accept_clock(at, offset) {
                continue;
            }
            let unrecorded = state.drifted.iter().filter(|(_, drift)| drift.unrecorded).map(|(table, _)| *table);
            self.members[at].unrecorded.retain(|table| !asked[*table]);
            self.members[at].unrecorded.extend(unrecorded);
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

    async fn open_all(&mut self) -> Vec<Option<Look>> {
        let (tables, page) = (&self.tables, self.page);
        join_all(self.members.iter_mut().map(async |member| {
            let specs = Session::specs(tables, member.id);
            let while_opened = Stretch::begin();
            // Left over where somebody stopped waiting.
            member.reader = None;
            let node = member.node.as_deref_mut()?;
            let opening = async {
                fault::point("open").await?;
                node.take_at_once(page);
                node.begin_read(&specs).await
            };
            let result = opening.await;
            let (after, is_set) = while_opened.end();
            Some(Look { result, before: while_opened.before, after, is_set })
        }))
        .await
    }

    /// Whether a node with this clock takes part. Reports a skew, and stops the node if so configured.
    fn accept_clock(&mut self, at: usize, offset: i64) -> bool {
        let member = &mut self.members[at];
        if member.away.as_ref().is_some_and(|away| !away.unreachable) {
            member.away = None;
        }
        let limit = self.config.defaults.max_skew.as_micros() as i64;
        let (is_off, strayed) = (offset.abs() > limit, strayed(member.strays, limit));
        let known = std::mem::replace(&mut member.skewed, is_off || strayed.is_some());
        if !member.skewed {
            return true;
        }
        let why = match strayed {
            Some(why) => why,
            None if self.is_own_clock_off() => format!("{OWN_CLOCK}{:.1}{MORE}", -offset as f64 / 1e6),
            None => format!("{ITS_CLOCK}{:.1}{MORE}", offset as f64 / 1e6),
        };
        let member = &mut self.members[at];
        if !is_off || self.config.defaults.on_skew == OnSkew::Warn {
            if !known {
                warn!(node = %member.name, %why, "A clock is wrong; times are corrected by what was measured.");
            }
            return true;
        }
        info!(node = %member.name, %why, "A node is left out.");
        member.away = Some(Away { node: member.name.clone(), why, unreachable: false });
        false
    }

    /// Whether it is this machine's clock that is off: those of all servers differ from it, and not from each other. A file has no
    /// clock but this.
    fn is_own_clock_off(&self) -> bool {
        let members = self.members.iter().zip(&self.config.nodes);
        let servers = members.filter(|(member, node)| member.node.is_some() && !node.target.is_file());
        let ahead: Vec<i64> = servers.filter_map(|(member, _)| Some(member.ahead? - member.strays)).collect();
        differ_alike(&ahead, self.config.defaults.max_skew.as_micros() as i64)
    }
}

/// What came of opening a node's snapshot, and between which times by this machine's clock.
struct Look {
    result: node::Result<node::Opened>,
    before: i64,
    after: i64,
    /// Whether that clock was set meanwhile.
    is_set: bool,
}

/// By how much more a clock moves than time passes if it is set, in microseconds; what only corrects it is less.
const SET: i64 = 1_000_000;

/// A stretch of time, which is as long as it is whoever sets the clock meanwhile.
struct Stretch {
    begun: Instant,
    before: i64,
}

impl Stretch {
    fn begin() -> Stretch {
        let begun = time::moment();
        Stretch { begun, before: time::now() }
    }

    /// When it ends, by the clock as it was when it began, and whether that was set meanwhile.
    fn end(&self) -> (i64, bool) {
        let after = self.before + time::moment().duration_since(self.begun).as_micros() as i64;
        (after, (time::now() - after).abs() > SET)
    }
}

/// By how much a clock is ahead that was read between these two times. Within the error of the measurement it counts as right:
/// noise must not decide conflicts.
fn offset_of(shown: i64, before: i64, after: i64) -> i64 {
    let (middle, error) = (before + (after - before) / 2, (after - before) / 2 + 1_000);
    Some(shown - middle).filter(|offset| offset.abs() > error).unwrap_or(0)
}

/// Whether several clocks are further off than this, and none so far from another.
fn differ_alike(ahead: &[i64], limit: i64) -> bool {
    let (Some(least), Some(most)) = (ahead.iter().min(), ahead.iter().max()) else { return false };
    ahead.len() > 1 && most - least <= limit && ahead.iter().all(|ahead| ahead.abs() > limit)
}

/// What is told of a clock that is off, around the seconds.
const ITS_CLOCK: &str = "its clock is off by ";
const OWN_CLOCK: &str = "the clock of the machine that Concord runs on is off from those of all servers by ";
const MORE: &str = " s, more than max_skew";
const UUIDS: &str = "its UUID(), by which changes are timed, is off from the server's own clock by ";
const RESTART: &str = " s, as after a suspend, or where the clock was set while the server ran; nothing but a restart of the server puts that \
    right: sync before it, with on_skew = \"warn\", since afterwards the times of what it has recorded by then cannot be corrected any more";

/// From how far on it is told that what times changes has strayed from the server's own clock, in microseconds, however little the
/// file lets clocks be off.
const STRAYED: i64 = 1_000_000;

/// What is to be told of a server that times changes by another clock than its own, if that is further off than this: less is
/// corrected as well, and a restart for it would be asked for again and again, since some servers stray by a second within days.
pub(super) fn strayed(micros: i64, max_skew: i64) -> Option<String> {
    (micros.abs() > max_skew.max(STRAYED)).then(|| format!("{UUIDS}{:.1}{RESTART}", micros as f64 / 1e6))
}

/// A reason without the seconds by which a clock is off: they are others with each measurement.
pub fn without_seconds(why: &str) -> String {
    let is_off = |(clock, more): &(&str, &str)| why.strip_prefix(*clock).is_some_and(|rest| rest.ends_with(*more));
    let known = [(ITS_CLOCK, MORE), (OWN_CLOCK, MORE), (UUIDS, RESTART)].into_iter().find(is_off);
    known.map_or_else(|| why.to_owned(), |(clock, more)| format!("{clock}some{more}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sync::tests::files;

    /// What is kept beside a table is read once, and again where it is another, or the form is.
    #[tokio::test]
    async fn a_shape_that_was_found_in_order_is_not_read_again() {
        let (_folder, databases, mut session) = files::two("CREATE TABLE t (id INTEGER PRIMARY KEY)", "[tables.t]\n");
        session.install().await.expect("nothing is wrong");
        assert_eq!(session.sync().await.expect("both are there").stopped, []);
        let read = "SELECT shape FROM concord_installed WHERE name = 't'";
        let kept: String = databases[1].query_row(read, [], |row| row.get(0)).expect("it is installed");
        let is_known = |session: &Session, kept: &str| session.tables[0].is_as_installed(NodeId(1), Some(kept));
        assert!(is_known(&session, &kept));
        let form = session.tables[0].forms[1].as_mut().expect("it is there");
        form.spec = Arc::new((*form.spec).clone());
        assert!(!is_known(&session, &kept));
        assert_eq!(session.sync().await.expect("both are there").stopped, []);
        assert!(is_known(&session, &kept));
        let other = kept.replace("\"delete\"", "\"other\"");
        assert!(other != kept && !is_known(&session, &other));
        databases[1].execute("UPDATE concord_installed SET shape = ?1", [&other]).expect("it is there");
        let stopped = session.sync().await.expect("both are there").stopped;
        assert!(stopped.len() == 1 && stopped[0].why.contains("installed with operations"), "{stopped:?}");
    }

    /// GIVEN an engine that goes on
    /// WHEN the tables get a column, and are installed, between two of its looks, whether or not it loses its connections meanwhile
    /// THEN it carries the column from then on, though nothing but what is kept tells of it any more.
    #[tokio::test]
    async fn what_was_installed_meanwhile_is_taken_anew() {
        let (_folder, databases, mut session) = files::two("CREATE TABLE t (id INTEGER PRIMARY KEY)", "[tables.t]\n");
        session.install().await.expect("nothing is wrong");
        assert_eq!(session.sync().await.expect("both are there").stopped, []);
        for (id, column, is_cut_off) in [(1, "c", false), (2, "d", true)] {
            for database in &databases {
                database.execute_batch(&format!("ALTER TABLE t ADD COLUMN {column} TEXT")).expect("there is none");
            }
            let another = Session::new(session.config.clone()).install().await;
            another.expect("both have the column");
            let insert = format!("INSERT INTO t (id, {column}) VALUES ({id}, 'x')");
            databases[0].execute(&insert, []).expect("there is none");
            if is_cut_off {
                session.members.iter_mut().for_each(|member| member.node = None);
            }
            let stopped = session.sync().await.expect("both are there").stopped;
            assert!(stopped.len() == 1 && stopped[0].why.contains("installed in another shape"), "{stopped:?}");
            assert_eq!(session.sync().await.expect("both are there").stopped, []);
            let read = format!("SELECT {column} FROM t WHERE id = {id}");
            let arrived: Option<String> = databases[1].query_row(&read, [], |row| row.get(0)).expect("it has arrived");
            assert_eq!(arrived.as_deref(), Some("x"));
        }
    }

    /// GIVEN nodes that an install, which was broken off, has left with different shapes
    /// WHEN an engine begins with them
    /// THEN it goes on with that, as it has begun.
    #[tokio::test]
    async fn nodes_that_differ_from_the_beginning_are_not_taken_anew() {
        let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)";
        let (_folder, databases, mut session) = files::two(sql, "[tables.t]\n");
        session.install().await.expect("nothing is wrong");
        let other = "UPDATE concord_installed SET shape = json_set(shape, '$.images', json_array('n'))";
        databases[1].execute(other, []).expect("it is installed");
        let mut session = Session::new(session.config.clone());
        for id in 1..=2 {
            databases[0].execute(&format!("INSERT INTO t (id) VALUES ({id})"), []).expect("there is none");
            assert_eq!(session.sync().await.expect("both are there").stopped, []);
            session.members.iter_mut().for_each(|member| member.node = None);
        }
        let arrived: i64 = databases[1].query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("a number");
        assert_eq!(arrived, 2);
    }

    #[test]
    fn clocks_that_agree_against_this_machines_are_right() {
        const LIMIT: i64 = 5_000_000;
        assert!(differ_alike(&[-10_000_000, -10_200_000], LIMIT));
        assert!(differ_alike(&[86_400_000_000, 86_400_000_000, 86_403_000_000], LIMIT));
        for ahead in
            [&[] as &[i64], &[-10_000_000], &[-10_000_000, 0], &[-10_000_000, 10_000_000], &[-6_000_000, -12_000_000]]
        {
            assert!(!differ_alike(ahead, LIMIT), "{ahead:?}");
        }
    }

    /// Nobody's clock counts as off by half of that, and what was read is told from what is right.
    #[test]
    fn a_clock_that_is_set_meanwhile_is_noticed() {
        const HOUR: i64 = 3_600_000_000;
        time::step(1_000);
        let stretch = Stretch::begin();
        for set in [0, -HOUR, HOUR] {
            time::pass(set);
            let (after, is_set) = stretch.end();
            time::pass(-set);
            assert!((stretch.before + 1..stretch.before + 100_000).contains(&after), "{set}: {after}");
            assert_eq!((is_set, offset_of(stretch.before, stretch.before, after)), (set != 0, 0));
        }
    }

    #[test]
    fn a_clock_that_is_off_is_told_in_the_same_words() {
        for clock in [ITS_CLOCK, OWN_CLOCK] {
            let why = |seconds: f64| format!("{clock}{seconds:.1}{MORE}");
            assert_eq!(without_seconds(&why(12.3)), without_seconds(&why(-12.4)));
            assert_ne!(without_seconds(&why(12.3)), why(12.3));
        }
        assert_ne!(without_seconds(&format!("{ITS_CLOCK}1{MORE}")), without_seconds(&format!("{OWN_CLOCK}1{MORE}")));
        let strays = |micros: i64| strayed(micros, 500_000).map(|why| without_seconds(&why));
        assert!(strays(-28_800_000_000) == strays(1_100_000) && strays(1_100_000) != strayed(1_100_000, 0));
        assert!(strays(900_000).is_none() && strayed(1_100_000, 1_200_000).is_none());
        assert_eq!(without_seconds("gone"), "gone");
    }
}
