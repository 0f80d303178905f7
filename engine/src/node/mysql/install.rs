//! Creating, repairing and removing service tables, histories and triggers.
//!
//! Every statement that creates something commits. So each is such that it can be made again, a table counts as installed
//! only when all of it is there, and an install that was broken off goes on where it was.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tracing::warn;

use super::capture::{self, Trigger};
use super::drift::Fingerprint;
use super::schema::{ColumnFacts, TriggerFacts, one};
use super::service::{NEWEST, TABLES, VERSION};
use super::wire::{Args, int, number, string};
use super::{MySql, Phase, cascades, quote, sql};
use crate::digest::short_digest;
use crate::fault;
use crate::model::TableSpec;
use crate::node::patience::for_locks;
use crate::node::{Error, ErrorKind, GIVEN_UP, Result, Sync, found};

/// How long to wait for somebody who holds a table, or installs as well.
const LOCKS: Duration = Duration::from_secs(10);

/// How far apart the times of two entries of one trigger may be, in µs.
const ONE_TRIGGER: i64 = 100_000;

/// What else may follow the columns of a table of Concord's.
const KIND: &str = "ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// What a history says besides keys and images.
const FIXED: [(&str, &str); 8] = [
    ("id", "BIGINT NOT NULL AUTO_INCREMENT"),
    ("mark", "BIGINT NULL"),
    ("op", "CHAR(1) NOT NULL"),
    ("time", "BIGINT NOT NULL"),
    ("origin", "VARCHAR(255) NULL"),
    ("number", "BIGINT NULL"),
    ("dot", "BIGINT NULL"),
    ("vector", "LONGTEXT NULL"),
];

/// A table as it was installed.
struct Installed {
    local: String,
    layout: String,
    shape: String,
    fingerprint: Fingerprint,
}

/// Statements that create something commit.
fn by_halves(error: Error) -> Error {
    match error.may_pass() {
        true => error.with("what was done until then stays, and the command goes on from there"),
        false => error,
    }
}

/// What is told of a table whose triggers were not all there for a moment.
fn may_be_unrecorded(spec: &TableSpec) -> String {
    format!(
        "changes made to {} before its triggers were there again may not have been recorded: compare its rows with those of the \
         other nodes",
        spec.full_name()
    )
}

/// Tells of tables that triggers record as well which went with the history of another: what references change in them has none
/// until these are there again.
fn tell_others(gone: &[&TriggerFacts], but: &str, tables: &[TableSpec], done: &mut Vec<String>) {
    let records = |spec: &TableSpec| gone.iter().any(|trigger| trigger.body.contains(&sql::history(spec)));
    let others = tables.iter().filter(|spec| spec.captured && spec.name != but && records(spec));
    done.extend(others.map(|spec| format!("{}: {}", spec.name, may_be_unrecorded(spec))));
}

impl MySql {
    /// Begins what may not run at the same time: the lock is the session's, and goes with it.
    pub(super) async fn begin_installing(&mut self) -> Result<()> {
        self.open().await?;
        self.phase = Phase::Installing;
        let lock = format!("concord {}", short_digest(&self.main()?.facts.database));
        let seconds = for_locks(LOCKS).as_secs().max(1);
        let get = format!("SELECT CAST(GET_LOCK(?, {seconds}) AS SIGNED)");
        let rows = self.main()?.fetch(&get, one(&lock)).await?;
        if rows.first().and_then(|row| number(row, 0)) != Some(1) {
            let message = "another Concord is installing here; try again when it is done";
            return Err(Error::new(ErrorKind::Locked, message));
        }
        self.main()?.run(&format!("SET SESSION lock_wait_timeout = {seconds}")).await
    }

    pub(super) async fn install_all(&mut self, sync: &Sync, tables: &[TableSpec]) -> Result<Vec<String>> {
        refuse_collisions(tables)?;
        self.begin_installing().await?;
        self.install_tables(sync, tables).await.map_err(by_halves)
    }

    async fn install_tables(&mut self, sync: &Sync, tables: &[TableSpec]) -> Result<Vec<String>> {
        let mut done = Vec::new();
        self.create_service(sync, &mut done).await?;
        let installed = self.read_installed().await?;
        for (name, old) in installed.iter().filter(|(name, _)| tables.iter().all(|table| table.name != **name)) {
            let doing = || format!("removing triggers from {}", old.local);
            self.remove_table(name, tables, &mut done).await.map_err(|error| error.while_doing(doing()))?;
            done.push(format!("{name}: removed its triggers, history and positions"));
        }
        let proof = self.proof()?;
        let edges = self.read_edges().await?;
        let captured: Vec<&TableSpec> = tables.iter().filter(|spec| spec.captured).collect();
        let cascades = cascades::triggers(&edges, &captured, proof, self.main()?.facts.maria)?;
        let standing = self.fingerprints(tables).await?;
        let unrecorded = |(spec, now): (&TableSpec, &Fingerprint)| {
            let drift = installed.get(&spec.name).and_then(|old| old.fingerprint.drift(now));
            drift.is_some_and(|drift| drift.unrecorded).then(|| spec.name.clone())
        };
        let unrecorded: BTreeSet<String> = tables.iter().zip(&standing).filter_map(unrecorded).collect();
        let mut changed: Vec<&TableSpec> = Vec::new();
        for spec in tables {
            let doing = || format!("creating triggers on {}", spec.full_name());
            fault::point("install-table").await?;
            let other = self.install_table(spec, tables, installed.get(&spec.name), proof, &mut done).await;
            if other.map_err(|error| error.while_doing(doing()))? {
                changed.push(spec);
            }
        }
        self.install_cascades(&cascades, &mut done).await?;
        fault::point("install-commit").await?;
        let prints = self.fingerprints(tables).await?;
        for spec in tables.iter().filter(|spec| installed.contains_key(&spec.name)) {
            let has_lost = !self.look_for_samples(&sync.node, &[spec]).await?.is_empty();
            if spec.captured && (has_lost || unrecorded.contains(&spec.name)) {
                let changes = self.give_up_vanished(spec).await?;
                if changes > 0 {
                    done.push(format!("{}: {}", spec.name, found::given_up(changes, &spec.name)));
                }
            }
            // The row to look for is chosen anew: what is gone without a trace has been told, and is to be compared.
            if has_lost {
                self.main()?.execute("DELETE FROM concord_sample WHERE name = ?", one(&spec.name)).await?;
                done.push(format!("{}: took note that rows are gone that nobody deleted one by one", spec.name));
            }
        }
        for ((spec, print), stood) in tables.iter().zip(prints).zip(&standing) {
            let old = installed.get(&spec.name);
            if let Some(old) = old {
                if old.fingerprint == print && old.shape == spec.shape && !changed.iter().any(|c| c.name == spec.name) {
                    continue;
                }
                let before = done.len();
                // What this install has made of the history is told, and nobody else's doing.
                let found = old.fingerprint.differences(stood);
                for difference in old.fingerprint.differences(&print) {
                    let is_own = difference.contains("history ") && !found.contains(&difference);
                    if !difference.contains("trigger ") && !is_own {
                        done.push(format!("{}: took note that {difference}", spec.name));
                    }
                }
                if old.shape != spec.shape && before == done.len() && changed.is_empty() {
                    done.push(format!("{}: recorded its new shared shape", spec.name));
                }
            }
            let layout = self.layout(spec).await?;
            let mut args = one(&spec.name);
            args.add(spec.local.as_str()).add(layout).add(spec.shape.as_str()).add(print.write());
            self.main()?
                .execute(
                    "REPLACE INTO concord_installed (name, local, layout, shape, fingerprint) VALUES (?, ?, ?, ?, ?)",
                    args,
                )
                .await?;
        }
        Ok(done)
    }

    async fn create_service(&mut self, sync: &Sync, done: &mut Vec<String>) -> Result<()> {
        let existing = self.read_service_version().await?;
        let there = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";
        let there = self.main()?.fetch(there, Args::new()).await?;
        let there: Vec<String> = there.iter().map(|row| string(row, 0)).collect::<Result<_>>()?;
        let is_there = |name: &str| there.iter().any(|known| known == name);
        for (name, columns) in TABLES {
            if !is_there(name) {
                self.main()?.run(&format!("CREATE TABLE {name} ({columns}) {KIND}")).await?;
                done.push(format!("created {name}"));
            }
        }
        if is_there("concord_journal") && !self.tells {
            self.main()?.run("ALTER TABLE concord_journal ADD COLUMN told LONGTEXT").await?;
            done.push("extended concord_journal, which an earlier Concord made".to_owned());
        }
        self.tells = true;
        let known = if existing.is_some() { self.read_service().await? } else { None };
        if let Some(known) = &known
            && (known.sync != sync.name || known.node != sync.node)
        {
            return Err(Error::new(
                ErrorKind::Service,
                format!(
                    "this database takes part in the sync `{}` as `{}` already, not in `{}` as `{}`; take \
                         Concord off it with `concord uninstall` and its configuration first",
                    known.sync, known.node, sync.name, sync.node
                ),
            ));
        }
        let mut args = Args::new();
        args.add(self.clock().await?);
        self.main()?.execute("INSERT IGNORE INTO concord_mark (one, last) VALUES (1, ?)", args).await?;
        self.draw_proof().await?;
        if known.is_none() || existing.is_none_or(|version| version < VERSION) || self.names != sync.nodes {
            let mut args = Args::new();
            args.add(VERSION)
                .add(sync.name.as_str())
                .add(sync.node.as_str())
                .add(serde_json::json!(sync.nodes).to_string())
                .add(uuid::Uuid::new_v4().hyphenated().to_string());
            self.main()?
                .execute(
                    "INSERT INTO concord_node (one, version, sync, node, nodes, uuid) VALUES (1, ?, ?, ?, ?, ?) \
                     ON DUPLICATE KEY UPDATE version = GREATEST(version, VALUES(version)), nodes = VALUES(nodes)",
                    args,
                )
                .await?;
            done.push(format!("this is `{}` of the nodes {}", sync.node, sync.nodes.join(", ")));
            self.names.clone_from(&sync.nodes);
        }
        Ok(())
    }

    /// Once, so that triggers stay what they are.
    async fn draw_proof(&mut self) -> Result<()> {
        let drawn = uuid::Uuid::new_v4().as_u128() as i64 >> 1;
        let mut args = Args::new();
        args.add(drawn);
        self.main()?.execute("INSERT IGNORE INTO concord_own (one, proof) VALUES (1, ?)", args).await?;
        self.read_proof().await
    }

    async fn read_installed(&mut self) -> Result<BTreeMap<String, Installed>> {
        let rows = self
            .main()?
            .fetch("SELECT name, local, layout, shape, fingerprint FROM concord_installed", Args::new())
            .await?;
        let read = rows.iter().map(|row| {
            let installed = Installed {
                local: string(row, 1)?,
                layout: string(row, 2)?,
                shape: string(row, 3)?,
                fingerprint: Fingerprint::read(&string(row, 4)?),
            };
            Ok((string(row, 0)?, installed))
        });
        read.collect()
    }

    /// Whether anything was done.
    async fn install_table(
        &mut self,
        spec: &TableSpec,
        tables: &[TableSpec],
        old: Option<&Installed>,
        proof: i64,
        done: &mut Vec<String>,
    ) -> Result<bool> {
        let layout = self.layout(spec).await?;
        let now = self.fingerprints(std::slice::from_ref(spec)).await?.remove(0);
        let drift = old.and_then(|old| old.fingerprint.drift(&now));
        let exists = now.has_history();
        let altered = drift.as_ref().is_some_and(|drift| drift.dropped);
        let whole = old.filter(|_| exists && !altered);
        let before = done.len();
        let mut kept = whole.is_some_and(|old| old.layout == layout && !old.fingerprint.records_others(&now));
        let retyped = !kept && whole.is_some_and(|old| old.fingerprint.records_the_same(&now));
        if retyped && self.retype_history(spec).await? {
            // Its triggers are not strict, so that they keep nobody from writing.
            let cut = match (spec.captured, spec.images.is_empty()) {
                (false, _) => String::new(),
                (true, alone) => format!(
                    "; {} that users wrote to {} after its columns had got these types may have been cut to the former ones: compare \
                     its rows with those of the other nodes",
                    if alone { "keys" } else { "keys, and values that are added up or merged," },
                    spec.full_name()
                ),
            };
            done.push(format!("{}: gave {} the new types of its columns{cut}", spec.name, sql::history(spec)));
            kept = true;
        }
        let drawn = self.main()?.facts.maria;
        let wanted = if spec.captured { capture::triggers(spec, proof, drawn) } else { Vec::new() };
        let there = self.read_triggers().await?;
        // Whatever else has one of these names is in the way.
        let own = |trigger: &&TriggerFacts| {
            ["i", "u", "d"].iter().any(|letter| trigger.name == capture::name(letter, &spec.name))
        };
        let own: Vec<&TriggerFacts> = there.iter().filter(own).collect();
        let history = sql::history(spec);
        if !kept {
            let ours =
                |there: &&&TriggerFacts| there.is_ours() || wanted.iter().any(|trigger| trigger.name == there.name);
            let mut going: Vec<&TriggerFacts> = own.iter().filter(ours).copied().collect();
            // Also what records cascades into it, which must not write to what is gone. It is made anew with the others.
            let cascades = |there: &&TriggerFacts| there.is_ours() && there.body.contains(&history);
            going.extend(there.iter().filter(cascades).filter(|there| own.iter().all(|own| own.name != there.name)));
            let last = match exists {
                true => self.remove_history(spec, &going, whole.is_some() && spec.captured).await?,
                false => {
                    self.drop_triggers(&going).await?;
                    0
                }
            };
            self.create_history(spec, &layout, last).await?;
            let meanwhile = if spec.captured { format!("; {}", may_be_unrecorded(spec)) } else { String::new() };
            done.push(match exists {
                false => format!("{}: created {history}", spec.name),
                true if altered => format!("{}: replaced {history}, because it was altered{meanwhile}", spec.name),
                true => {
                    format!("{}: replaced {history}, because its key or images are others now{meanwhile}", spec.name)
                }
            });
            tell_others(&going, &spec.name, tables, done);
        }
        if drawn && kept && spec.captured && self.draw_times(spec).await? {
            done.push(format!("{}: made {history} draw the times of its entries", spec.name));
        }
        let mut created = false;
        let account = self.main()?.facts.account.clone();
        for trigger in &wanted {
            let same = own.iter().find(|there| there.name == trigger.name).filter(|_| kept);
            if same.is_some_and(|there| is_as_wanted(there, trigger, &account)) {
                continue;
            }
            self.create_trigger(trigger, same.copied()).await?;
            created = true;
        }
        // Also what stands there under names that Concord does not give, as tools that rebuild tables take copies of triggers along: they
        // would record each change once more.
        let is_own = |there: &TriggerFacts| own.iter().any(|own| own.name == there.name);
        let unwanted = |there: &&TriggerFacts| {
            let here = is_own(there) && kept || there.table == spec.local && !there.is_of_cascade();
            here && there.is_ours() && wanted.iter().all(|trigger| trigger.name != there.name)
        };
        for gone in there.iter().filter(unwanted) {
            self.drop_trigger(&gone.name).await?;
            created = true;
        }
        if created {
            done.push(match spec.captured {
                true => format!("{}: created triggers on {}", spec.name, spec.full_name()),
                false => format!(
                    "{}: removed triggers from {}, whose changes are carried nowhere",
                    spec.name,
                    spec.full_name()
                ),
            });
        }
        Ok(done.len() > before)
    }

    /// Triggers that record what references do, wherever they begin.
    async fn install_cascades(&mut self, wanted: &[Trigger], done: &mut Vec<String>) -> Result<()> {
        let account = self.main()?.facts.account.clone();
        let there = self.read_triggers().await?;
        let there: Vec<&TriggerFacts> = there.iter().filter(|trigger| trigger.is_of_cascade()).collect();
        let unwanted =
            |there: &TriggerFacts| there.is_ours() && wanted.iter().all(|trigger| trigger.name != there.name);
        for gone in there.iter().filter(|there| unwanted(there)) {
            self.drop_trigger(&gone.name).await?;
            done.push(format!("removed a trigger from {}, whose references change nothing any more", gone.table));
        }
        for trigger in wanted {
            let same = there.iter().find(|there| there.name == trigger.name);
            if same.is_some_and(|there| is_as_wanted(there, trigger, &account)) {
                continue;
            }
            self.create_trigger(trigger, same.copied())
                .await
                .map_err(|error| error.while_doing(format!("creating triggers on {}", trigger.table)))?;
            done.push(format!("{}: created a trigger that records what its references change", trigger.table));
        }
        Ok(())
    }

    /// Where the database cannot replace a trigger at a stroke, nobody writes to the table meanwhile.
    async fn create_trigger(&mut self, trigger: &Trigger, there: Option<&TriggerFacts>) -> Result<()> {
        let maria = self.main()?.facts.maria;
        let moved = there.is_some_and(|there| there.table != trigger.table);
        if moved {
            // It went with its table, which another has taken the place of, and is none of that one's.
            self.drop_trigger(&trigger.name).await?;
        }
        let alone = there.is_some() && !moved && !maria;
        if alone {
            self.main()?.run(&format!("LOCK TABLES {} WRITE", quote::ident(&trigger.table))).await?;
            self.drop_trigger(&trigger.name).await?;
        }
        // A trigger keeps the mode of the session that creates it. If it fails the session is given up.
        self.main()?.run(&format!("SET SESSION sql_mode = '{}'", capture::MODE)).await?;
        self.main()?.run(&trigger.create(maria)).await?;
        self.main()?.run(&format!("SET SESSION sql_mode = '{}'", super::connect::MODE)).await?;
        if alone { self.main()?.run("UNLOCK TABLES").await } else { Ok(()) }
    }

    async fn drop_trigger(&mut self, name: &str) -> Result<()> {
        self.main()?.run(&format!("DROP TRIGGER IF EXISTS {}", quote::ident(name))).await
    }

    async fn drop_triggers(&mut self, triggers: &[&TriggerFacts]) -> Result<()> {
        for trigger in triggers {
            self.drop_trigger(&trigger.name).await?;
        }
        Ok(())
    }

    /// Gives the history's columns the types that those of the table have now, so that its entries stay; `false`, and nothing
    /// is done, where they do not fit.
    async fn retype_history(&mut self, spec: &TableSpec) -> Result<bool> {
        let columns = self.recorded(spec).await?;
        let standing = self.read_columns(&sql::history_name(&spec.name)).await?;
        let is_there = |name: &str| standing.iter().any(|facts| facts.column.name == name);
        if !columns.iter().all(|(name, _)| is_there(name)) || !FIXED.iter().all(|(name, _)| is_there(name)) {
            return Ok(false);
        }
        let columns: Vec<String> = columns.iter().map(|(name, ty)| format!("MODIFY {name} {ty}")).collect();
        let history = sql::history(spec);
        match self.main()?.run(&format!("ALTER TABLE {history} {}", columns.join(", "))).await {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind, ErrorKind::Value | ErrorKind::Constraint(_) | ErrorKind::Other) => {
                Ok(false)
            }
            Err(error) => Err(error.held_at(history)),
        }
    }

    /// Gives up the changes of rows that are gone although nobody deleted them, which would delete the rows elsewhere; how many of users
    /// there were. What Concord did to these rows goes with them. A row that Concord took away has no change later than that; one that
    /// others only told of has none of a user, and may have none here where not all rows are to be here.
    ///
    /// Where such a row had another key before, the delete of that one goes too, as there would be neither elsewhere. Then that key may have
    /// changes of a row that is gone, and so on.
    ///
    /// Where all triggers are there a snapshot shows an entry of whatever users did to the rows that it shows.
    async fn give_up_vanished(&mut self, spec: &TableSpec) -> Result<u64> {
        let history = sql::history(spec);
        let keys: Vec<String> = sql::history_keys(spec).collect();
        let same: Vec<String> = spec
            .key_columns()
            .zip(&keys)
            .map(|(column, key)| {
                let (own, key) = (quote::of("t", &column.name), format!("l.{key}"));
                // What a collation calls equal may be another key.
                match sql::is_lenient(column) {
                    true => format!("{own} = {key} AND {} = {}", sql::exact(&own), sql::exact(&key)),
                    false => format!("{own} = {key}"),
                }
            })
            .collect();
        let apart = spec.key_columns().zip(&keys).map(|(column, key)| match sql::is_lenient(column) {
            true => sql::exact(&format!("h.{key}")),
            false => format!("h.{key}"),
        });
        let apart = apart.collect::<Vec<_>>().join(", ");
        let keys = keys.iter().map(|key| format!("h.{key}")).collect::<Vec<_>>().join(", ");
        let last = |condition: &str| format!("MAX(CASE WHEN {condition} THEN h.id END) OVER (PARTITION BY {apart})");
        // Of changes that are counted one by one others' are entered also while the row itself waits.
        let waits = "SELECT 1 FROM concord_parked WHERE name = ? LIMIT 1";
        let waits = !self.main()?.fetch(waits, one(&spec.name)).await?.is_empty();
        let others = spec.takes_all && (spec.images.is_empty() || !waits);
        // An update alone brings no row back: of what one reference deletes and another changes, that may be recorded last.
        let (made, gone, back) = (
            last(if others { "h.op IN ('I', 'U')" } else { "h.origin IS NULL AND h.op IN ('I', 'U')" }),
            last("h.op = 'D'"),
            last("h.op = 'I' OR (h.op = 'U' AND h.origin IS NOT NULL)"),
        );
        let statement = format!(
            "SELECT l.id, l.own, l.came FROM (SELECT h.id, h.origin IS NULL AS own, {keys}, \
                CASE WHEN h.op = 'I' AND h.origin IS NULL THEN h.time END AS came, \
                {made} AS made, {gone} AS gone, {back} AS back \
                FROM {history} AS h WHERE {}) AS l \
             WHERE l.made > COALESCE(l.gone, 0) AND (l.gone IS NULL OR l.back > l.gone) \
                AND NOT EXISTS (SELECT 1 FROM {} AS t WHERE {}) ORDER BY l.id",
            sql::ALIVE,
            sql::table(spec),
            same.join(" AND ")
        );
        let mut given = 0;
        loop {
            let (mut ids, mut came) = (Vec::new(), Vec::new());
            for row in self.main()?.fetch(&statement, Args::new()).await? {
                let id = int(&row, 0)?;
                ids.push(id);
                given += u64::from(number(&row, 1) == Some(1));
                came.extend(number(&row, 2).map(|time| (time, id)));
            }
            if ids.is_empty() {
                break;
            }
            let formers = self.former_keys(&history, came).await?;
            self.main()?.run("START TRANSACTION").await?;
            self.give_up(&history, &ids).await?;
            given += self.give_up(&history, &formers).await?;
            let mut args = Args::new();
            args.add(NEWEST);
            self.main()?.execute("UPDATE concord_node SET version = GREATEST(version, ?)", args).await?;
            self.main()?.run("COMMIT").await?;
        }
        if given > 0 {
            // Should the install be broken off, the next one has nothing to tell of it.
            warn!(table = spec.name, "{}", found::given_up(given, &spec.name));
        }
        Ok(given)
    }

    /// The deletes that may be of the former keys of rows that `came`, each at a time, as entries with these ids. One trigger enters both, the
    /// delete first, at one time or, where the history draws that, shortly after each other; entries of others may lie between them. A
    /// delete that is given up without need `verify` finds, as the row stands elsewhere; one that is carried without need nobody does.
    async fn former_keys(&mut self, history: &str, mut came: Vec<(i64, i64)>) -> Result<Vec<i64>> {
        came.sort_unstable();
        let (Some(&(first, _)), Some(&(last, _))) = (came.first(), came.last()) else { return Ok(Vec::new()) };
        let mut args = Args::new();
        args.all(&[first - ONE_TRIGGER, last]);
        let deletes = format!(
            "SELECT h.id, h.time FROM {history} AS h WHERE h.op = 'D' AND h.origin IS NULL AND h.time BETWEEN ? AND ?"
        );
        let mut formers = Vec::new();
        for row in self.main()?.fetch(&deletes, args).await? {
            let (id, time) = (int(&row, 0)?, int(&row, 1)?);
            let since = &came[came.partition_point(|(at, _)| *at < time)..];
            let mut soon = since.iter().take_while(|(at, _)| *at <= time + ONE_TRIGGER);
            // Of what a reference changes the deletes may come later.
            if soon.any(|(at, inserted)| *at == time || *inserted > id) {
                formers.push(id);
            }
        }
        Ok(formers)
    }

    /// Gives up the entries with these ids; how many there were.
    async fn give_up(&mut self, history: &str, ids: &[i64]) -> Result<u64> {
        let mut given = 0;
        for part in ids.chunks(sql::KEYS) {
            let mut args = one(GIVEN_UP);
            args.all(part);
            let list = vec!["?"; part.len()].join(", ");
            let statement = format!("UPDATE {history} AS h SET h.op = ? WHERE h.id IN ({list})");
            given += self.main()?.execute(&statement, args).await.map_err(|error| error.held_at(history))?;
        }
        Ok(given)
    }

    /// Takes a history away with the triggers that write to it, unless it holds changes that were `promised` to be carried. Nobody
    /// writes to the table from the look at it until the triggers are gone. Returns the last number that it gave out.
    async fn remove_history(&mut self, spec: &TableSpec, triggers: &[&TriggerFacts], promised: bool) -> Result<i64> {
        let history = sql::history(spec);
        let mut tables: BTreeSet<String> = triggers.iter().map(|trigger| quote::ident(&trigger.table)).collect();
        tables.extend([sql::table(spec), history.clone()]);
        let locks: Vec<String> = tables.iter().map(|table| format!("{table} WRITE")).collect();
        match self.main()?.run(&format!("LOCK TABLES {}", locks.join(", "))).await {
            Ok(()) => {}
            // MariaDB asks for the right nowhere else, and a table may have triggers that write to what somebody dropped.
            Err(error) if matches!(error.kind, ErrorKind::Rights | ErrorKind::Drift) => {}
            Err(error) => return Err(error.held_at(spec.full_name())),
        }
        if promised {
            // A locked table answers to no other name.
            let alive = sql::ALIVE.replace("h.", "");
            let count = format!("SELECT COUNT(*) FROM {history} WHERE {alive}");
            let rows = self.main()?.fetch(&count, Args::new()).await?;
            let left = rows.first().and_then(|row| number(row, 0)).unwrap_or(0).unsigned_abs();
            if left > 0 {
                self.main()?.run("UNLOCK TABLES").await?;
                return Err(Error::holds_changes(spec, left));
            }
        }
        let last = self.drawn(&sql::history_name(&spec.name)).await?.unwrap_or(0);
        self.drop_triggers(triggers).await?;
        self.main()?.run(&format!("DROP TABLE IF EXISTS {history}")).await?;
        self.main()?.run("UNLOCK TABLES").await?;
        Ok(last)
    }

    /// A new history, whose numbers are above all that one of this name ever gave out: other nodes remember those. Nobody
    /// writes a million entries a second for long, so the microseconds of the clock are above even what is forgotten.
    async fn create_history(&mut self, spec: &TableSpec, layout: &str, last: i64) -> Result<()> {
        let history = sql::history_name(&spec.name);
        self.main()?.execute("DELETE FROM concord_marked WHERE name = ?", one(&spec.name)).await?;
        let start = last.saturating_add(1).max(self.clock().await?);
        self.main()?
            .run(&format!("CREATE TABLE {} ({layout}) {KIND} AUTO_INCREMENT = {start}", quote::ident(&history)))
            .await?;
        // Not a part of the layout: a history made without it is as good, and is to be kept.
        let default = format!("ALTER COLUMN mark SET DEFAULT {}", sql::NO_MARK);
        self.main()?.run(&format!("ALTER TABLE {} {default}", quote::ident(&history))).await?;
        if self.main()?.facts.maria {
            self.draw_times(spec).await?;
        }
        // If the install is broken off now, the next one keeps this history and what it has recorded by then. Until that
        // one the table is not what it was, and stands still.
        let mut args = Args::new();
        args.add(layout).add(Fingerprint::default().write()).add(spec.name.as_str());
        self.main()?.execute("UPDATE concord_installed SET layout = ?, fingerprint = ? WHERE name = ?", args).await?;
        Ok(())
    }

    /// Lets the history draw the times of entries by itself, also one that was made before it did; whether it did not yet.
    async fn draw_times(&mut self, spec: &TableSpec) -> Result<bool> {
        let columns = self.read_columns(&sql::history_name(&spec.name)).await?;
        if columns.iter().any(|facts| facts.column.name == "time" && facts.default.is_some()) {
            return Ok(false);
        }
        let default = format!("ALTER COLUMN time SET DEFAULT ({})", capture::DRAWN);
        self.main()?.run(&format!("ALTER TABLE {} {default}", sql::history(spec))).await?;
        Ok(true)
    }

    /// What the history is made of.
    async fn layout(&mut self, spec: &TableSpec) -> Result<String> {
        let mut columns = FIXED.map(|(name, ty)| format!("{name} {ty}")).join(", ");
        for (name, ty) in self.recorded(spec).await? {
            columns += &format!(", {name} {ty}");
        }
        if !spec.images.is_empty() {
            columns += ", before_ TINYINT NULL, after_ TINYINT NULL";
        }
        Ok(columns + ", PRIMARY KEY (id), KEY by_mark (mark)")
    }

    /// The history's columns for key and images with the types of those that they stand for.
    async fn recorded(&mut self, spec: &TableSpec) -> Result<Vec<(String, String)>> {
        let facts = self.read_columns(&spec.local).await?;
        let facts: HashMap<&str, &ColumnFacts> =
            facts.iter().map(|facts| (facts.column.name.as_str(), facts)).collect();
        let mut columns = Vec::new();
        let mut add = |name: String, column: &crate::model::Column| -> Result<()> {
            let Some(facts) = facts.get(column.name.as_str()) else {
                let message = format!("{} has no column {} any more", spec.full_name(), column.name);
                return Err(Error::new(ErrorKind::Drift, message));
            };
            let mut ty = facts.column.native.clone();
            if let (Some(charset), Some(collation)) = (&facts.charset, &facts.column.collation) {
                ty += &format!(" CHARACTER SET {charset} COLLATE {collation}");
            }
            columns.push((name, ty + " NULL DEFAULT NULL"));
            Ok(())
        };
        for (column, name) in spec.key_columns().zip(sql::history_keys(spec)) {
            add(name, column)?;
        }
        for (at, column) in spec.image_columns().enumerate() {
            let (old, new) = sql::image_columns(at);
            add(old, column)?;
            add(new, column)?;
        }
        Ok(columns)
    }

    async fn remove_table(&mut self, shared: &str, tables: &[TableSpec], done: &mut Vec<String>) -> Result<()> {
        // Also what records cascades into it, which must not write to what is gone.
        let history = quote::ident(&sql::history_name(shared));
        let there = self.read_triggers().await?;
        let writes_to_it = |trigger: &&TriggerFacts| trigger.is_ours() && trigger.body.contains(&history);
        let going: Vec<&TriggerFacts> = there.iter().filter(writes_to_it).collect();
        self.drop_triggers(&going).await?;
        tell_others(&going, shared, tables, done);
        self.main()?.run(&format!("DROP TABLE IF EXISTS {history}")).await?;
        for table in ["position", "purged", "witness", "marked", "parked", "sample", "installed"] {
            self.main()?.execute(&format!("DELETE FROM concord_{table} WHERE name = ?"), one(shared)).await?;
        }
        Ok(())
    }

    pub(super) async fn uninstall_all(&mut self) -> Result<bool> {
        self.begin_installing().await?;
        self.remove_all().await.map_err(by_halves)
    }

    async fn remove_all(&mut self) -> Result<bool> {
        if self.read_service_version().await?.is_none() && !self.has_traces().await? {
            return Ok(false);
        }
        for trigger in self.read_triggers().await?.iter().filter(|trigger| trigger.is_ours()) {
            let doing = || format!("removing triggers from {}", trigger.table);
            self.drop_trigger(&trigger.name).await.map_err(|error| error.while_doing(doing()))?;
            fault::point("uninstall-trigger").await?;
        }
        if self.has_table("concord_installed").await? {
            for name in self.read_installed().await?.keys() {
                let history = quote::ident(&sql::history_name(name));
                self.main()?.run(&format!("DROP TABLE IF EXISTS {history}")).await?;
            }
        }
        fault::point("uninstall-commit").await?;
        // The node itself is the last to be forgotten, so that an uninstall that was broken off is taken up again.
        for (name, _) in TABLES.iter().rev() {
            self.main()?.run(&format!("DROP TABLE IF EXISTS {name}")).await?;
        }
        Ok(true)
    }

    async fn has_table(&mut self, name: &str) -> Result<bool> {
        let statement = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?";
        Ok(!self.main()?.fetch(statement, one(name)).await?.is_empty())
    }

    async fn has_traces(&mut self) -> Result<bool> {
        self.has_table("concord_node").await
    }

    pub(super) async fn reset_all(&mut self) -> Result<()> {
        self.begin_installing().await?;
        self.check_service().await?;
        self.clear_histories().await
    }

    /// The names of the histories that are there. Those that somebody dropped `install` makes anew.
    pub(super) async fn histories(&mut self) -> Result<Vec<String>> {
        let mut histories = Vec::new();
        for name in self.read_installed().await?.into_keys() {
            let history = sql::history_name(&name);
            if self.has_table(&history).await? {
                histories.push(history);
            }
        }
        Ok(histories)
    }

    /// Empties the histories, and forgets what was applied, purged and parked, in one transaction. Ids go on from where they
    /// are, so that none is ever used twice.
    pub(super) async fn clear_histories(&mut self) -> Result<()> {
        let histories = self.histories().await?;
        self.main()?.run("START TRANSACTION").await?;
        for history in &histories {
            let emptied = self.main()?.run(&format!("DELETE FROM {}", quote::ident(history))).await;
            emptied.map_err(|error| error.held_at(history))?;
        }
        for table in ["position", "purged", "witness", "marked", "parked", "sample"] {
            self.main()?.run(&format!("DELETE FROM concord_{table}")).await?;
        }
        self.main()?.run("COMMIT").await
    }
}

/// Whether a trigger is there as it is to be.
fn is_as_wanted(there: &TriggerFacts, wanted: &Trigger, account: &str) -> bool {
    there.table == wanted.table
        && there.event == wanted.event
        && there.body == wanted.body
        && there.made.trim_end() == format!("{account} {}", capture::MODE).trim_end()
}

/// Two shared names that would share a history or a trigger.
fn refuse_collisions(tables: &[TableSpec]) -> Result<()> {
    let mut taken: HashMap<String, &str> = HashMap::new();
    for table in tables {
        // Names of tables may be the same in capital and in small letters, depending on the server's files.
        let name = sql::history_name(&table.name).to_lowercase();
        if let Some(other) = taken.insert(name.clone(), &table.name)
            && other != table.name
        {
            return Err(Error::new(
                ErrorKind::Service,
                format!("tables `{other}` and `{}` would share {name}; rename one of them", table.name),
            ));
        }
    }
    Ok(())
}
