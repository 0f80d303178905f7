//! Writing: rows by key in few statements, and the looks that keep users' changes from being overwritten unread.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::mysql::MySqlRow;

use super::capture::{APPLYING, NOTHING, own, token};
use super::connect::SERVER;
use super::schema::one;
use super::service::{LARGE, marks, parse};
use super::wire::{Args, Wire, int, number, text};
use super::{MySql, Phase, connect, identity, quote, sql};
use crate::model::{Column, Cut, Domain, Key, OnGone, Row, TableSpec, Value};
use crate::node::{Constraint, Error, ErrorKind, NODES_CHANGED, Result, WriteMode};

/// A former transaction may have waited less.
fn begin(tables: &[TableSpec]) -> String {
    format!("SET SESSION {}; START TRANSACTION READ WRITE{}", connect::waits(), identity::hold(tables))
}

/// Rows in one statement.
const ROWS: usize = 1_000;

/// Up to where a history was purged.
const PURGED: &str = "SELECT p.cut FROM concord_purged AS p WHERE p.name = ?";

/// A condition that every entry meets.
pub(super) const ANY: &str = "TRUE";

/// How an error ends by which a server says that it has no such statement so far, see `failure.rs`.
const NOT_YET: &str = "[1235]";

/// Fails where it is evaluated, see [`failure::GUARD`](super::failure::GUARD).
const FAIL: &str = "(SELECT 1 UNION ALL SELECT 2)";

impl MySql {
    pub(super) async fn open_apply(&mut self, tables: &[TableSpec]) -> Result<()> {
        // It may have to be opened, and then nobody is to wait for what is locked.
        self.side().await?;
        self.begin_writing(tables).await?;
        let names = self.names.clone();
        self.read_names().await?;
        if !names.is_empty() && names != self.names {
            return Err(Error::new(ErrorKind::Drift, NODES_CHANGED));
        }
        self.has_triggers = tables.iter().any(|spec| !spec.user_triggers.is_empty());
        self.read_proof().await?;
        self.refuse_others(tables, true).await?;
        // As a former transaction may have left it.
        if self.announced == NOTHING {
            self.tell_triggers(BTreeSet::new(), "").await?;
        }
        Ok(())
    }

    /// The same where nothing of Concord's may be installed. Whoever records changes of these tables takes what is written for a
    /// user's; a list of no table tells triggers of users that it is not.
    pub(super) async fn open_mend(&mut self, tables: &[TableSpec]) -> Result<()> {
        self.begin_writing(tables).await?;
        self.as_user = true;
        self.refuse_others(tables, false).await?;
        self.tell_triggers(BTreeSet::new(), NOTHING).await
    }

    /// Begins a transaction that writes, unless the server was set read-only.
    async fn begin_writing(&mut self, tables: &[TableSpec]) -> Result<()> {
        self.open().await?;
        // As in `begin`.
        self.phase = Phase::Applying;
        let statements = format!("SELECT {}; {}", connect::READ_ONLY, begin(tables));
        let said = self.main()?.ask(&statements).await?;
        connect::refuse_read_only(said.as_deref())
    }

    pub(super) async fn be_quick(&mut self) -> Result<()> {
        // MySQL counts whole seconds, from one on.
        let seconds = i32::from(!self.main()?.facts.maria);
        let settings = format!("SET SESSION innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}");
        self.main()?.run(&settings).await
    }

    /// Tells the triggers of these tables that the next statement is Concord's own. Those of other tables record what
    /// references and users' triggers do there.
    pub(super) async fn announce<'t>(&mut self, tables: impl Iterator<Item = &'t TableSpec>) -> Result<()> {
        if self.as_user && self.announced == NOTHING {
            return Ok(());
        }
        let names = tables.filter(|_| !self.as_user).map(|spec| spec.name.clone()).collect();
        self.tell_triggers(names, "").await
    }

    /// Which tables are Concord's from here on; `nothing` stands for none.
    async fn tell_triggers(&mut self, names: BTreeSet<String>, nothing: &'static str) -> Result<()> {
        let tokens: String = names.iter().map(|name| token(name)).collect();
        let announced = if names.is_empty() { nothing.to_owned() } else { tokens };
        if announced == self.announced {
            return Ok(());
        }
        let proof = if names.is_empty() { 0 } else { self.proof()? };
        let mut sets = vec![format!("{APPLYING} = {}", quote::literal(&announced))];
        sets.extend(self.owned.difference(&names).map(|name| format!("{} = NULL", own(name))));
        sets.extend(names.iter().map(|name| format!("{} = {proof}", own(name))));
        self.main()?.run(&format!("SET {}", sets.join(", "))).await?;
        (self.announced, self.owned) = (announced, names);
        Ok(())
    }

    /// Whether the rows may refer to each other, so that the server would refuse them for their order.
    fn refer_to_each_other<'t>(&self, tables: impl Iterator<Item = &'t TableSpec> + Clone) -> bool {
        let names: HashSet<&str> = tables.clone().map(|spec| spec.local.as_str()).collect();
        let within = |spec: &TableSpec| {
            spec.references.iter().any(|reference| names.contains(reference.referenced_table.as_str()))
        };
        // What others refer to by another column than the key may change with the row: that is left to the server.
        let by_key = |spec: &TableSpec| {
            let is_key = |name: &String| spec.key_columns().any(|column| column.name == *name);
            let whole = |names: &Vec<String>| names.len() == spec.key.len() && names.iter().all(is_key);
            spec.referenced.iter().all(|reference| whole(&reference.referenced_columns))
        };
        tables.clone().any(within) && tables.clone().all(by_key)
    }

    /// See [`crate::node::Node::write`].
    pub(super) async fn write_rows(&mut self, groups: &[(&TableSpec, &[&Row], WriteMode)]) -> Result<u64> {
        let groups: Vec<_> = groups.iter().filter(|(_, rows, _)| !rows.is_empty()).copied().collect();
        let unchecked = self.refer_to_each_other(groups.iter().map(|(spec, ..)| *spec));
        if unchecked {
            self.main()?.run("SET SESSION foreign_key_checks = 0").await?;
        }
        let written = self.write_groups(&groups).await;
        if unchecked {
            self.check_again().await?;
            let written = written?;
            for (spec, rows, _) in &groups {
                self.check_parents(spec, rows).await?;
            }
            return Ok(written);
        }
        written
    }

    /// Each table by itself: what a trigger does to another of them meanwhile is recorded, and seen before that is written.
    async fn write_groups(&mut self, groups: &[(&TableSpec, &[&Row], WriteMode)]) -> Result<u64> {
        let mut written = 0;
        for (spec, rows, mode) in groups {
            self.announce(std::iter::once(*spec)).await?;
            if *mode != WriteMode::InsertOnly {
                let keys: Vec<Key> = rows.iter().map(|row| spec.key_of(row)).collect();
                self.forget_own(spec, &keys.iter().collect::<Vec<_>>(), Some(*mode)).await?;
            }
            written += self.write_group(spec, rows, *mode).await?;
        }
        Ok(written)
    }

    /// Lets the server check references again, if there is still a transaction.
    async fn check_again(&mut self) -> Result<()> {
        match &mut self.main {
            Some(main) if !main.broken => main.run("SET SESSION foreign_key_checks = 1").await,
            _ => Ok(()),
        }
    }

    async fn write_group(&mut self, spec: &TableSpec, rows: &[&Row], mode: WriteMode) -> Result<u64> {
        if mode != WriteMode::Upsert {
            self.lenient.extend(rows.iter().map(|row| (spec.index, spec.key_of(row))));
        }
        match mode {
            WriteMode::InsertOnly => self.write_new(spec, rows).await,
            // Whoever mends may have no right to insert.
            WriteMode::UpdateOnly if self.as_user => self.update_one_by_one(spec, rows).await,
            WriteMode::UpdateOnly => {
                let there = self.there(spec, rows, "FOR UPDATE").await?;
                let old: Vec<&Row> = rows.iter().copied().filter(|row| there.contains(&spec.key_of(row))).collect();
                self.write_whole(spec, &old).await
            }
            WriteMode::Upsert => self.write_whole(spec, rows).await,
        }
    }

    /// Writes rows whether or not they are there. In one step rows that are there would be shown first to users' triggers as if they
    /// were inserted.
    async fn write_whole(&mut self, spec: &TableSpec, rows: &[&Row]) -> Result<u64> {
        let divided = self.before_insert.contains(&spec.local) || self.has_hashed_unique(spec).await?;
        if divided || !self.write_in_one_step(spec, rows).await? {
            let there = self.there(spec, rows, "FOR UPDATE").await?;
            let (old, new): (Vec<&Row>, Vec<&Row>) =
                rows.iter().copied().partition(|row| there.contains(&spec.key_of(row)));
            self.update_one_by_one(spec, &old).await?;
            self.write_by(spec, &new, |count| insert(spec, count)).await?;
        }
        Ok(rows.len() as u64)
    }

    /// Whether one step does: what is inserted has to satisfy columns that are not written, also where it turns into an update. One of
    /// them may take no NULL, or a check ask for a value, and then the rows that stand are updated one by one.
    async fn write_in_one_step(&mut self, spec: &TableSpec, rows: &[&Row]) -> Result<bool> {
        match self.write_by(spec, rows, |count| upsert(spec, count)).await {
            Err(error) if spec.keeps_own && error.kind == ErrorKind::Constraint(Constraint::Other) => Ok(false),
            // MariaDB has no such step where an index is over values WITHOUT OVERLAPS, whatever stands there.
            Err(error) if error.kind == ErrorKind::Other && error.to_string().ends_with(NOT_YET) => {
                self.hashed.insert(spec.local.clone(), true);
                Ok(false)
            }
            written => written.map(|()| true),
        }
    }

    /// Writes the rows that are not there; how many.
    async fn write_new(&mut self, spec: &TableSpec, rows: &[&Row]) -> Result<u64> {
        let wires = sql::wires(spec);
        let mut left = rows.to_vec();
        if spec.keeps_own || self.before_insert.contains(&spec.local) {
            let there = self.there(spec, rows, "").await?;
            left.retain(|row| !there.contains(&spec.key_of(row)));
        }
        let mut written = 0;
        while !left.is_empty() {
            let (args, count) = cells(spec, &wires, &left);
            match self.main()?.execute(&insert(spec, count), args).await {
                Ok(_) => {
                    left.drain(..count);
                    written += count as u64;
                }
                // The statement wrote nothing. Whoever was waited for has committed, so the row that was in the way shows.
                Err(error) if error.kind == ErrorKind::Constraint(Constraint::Unique) => {
                    let there = self.there(spec, &left[..count], "").await?;
                    if there.is_empty() {
                        return Err(error);
                    }
                    left.retain(|row| !there.contains(&spec.key_of(row)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// The keys of those rows that are there.
    async fn there(&mut self, spec: &TableSpec, rows: &[&Row], lock: &str) -> Result<HashSet<Key>> {
        let keys: Vec<Key> = rows.iter().map(|row| spec.key_of(row)).collect();
        self.lock_keys(spec, &keys.iter().collect::<Vec<_>>(), lock).await
    }

    /// Whether the table has a unique index over values of any length, or one that takes no rows in one step, as far as that is known.
    /// Where one of the former has refused a row, MariaDB takes the row that was in the way for that of the next statement as well,
    /// whatever its key, and would change it.
    async fn has_hashed_unique(&mut self, spec: &TableSpec) -> Result<bool> {
        if let Some(known) = self.hashed.get(&spec.local) {
            return Ok(*known);
        }
        if spec.uniques.is_empty() || !self.main()?.facts.maria {
            return Ok(false);
        }
        let statement = "SELECT 1 FROM information_schema.STATISTICS \
                         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND INDEX_TYPE = 'HASH' LIMIT 1";
        let found = !self.main()?.fetch(statement, one(&spec.local)).await?.is_empty();
        self.hashed.insert(spec.local.clone(), found);
        Ok(found)
    }

    /// Updates each row by itself; how many were there.
    async fn update_one_by_one(&mut self, spec: &TableSpec, rows: &[&Row]) -> Result<u64> {
        let others: Vec<(usize, &Column)> =
            spec.columns.iter().enumerate().filter(|(at, _)| !spec.key.contains(at)).collect();
        if others.is_empty() {
            return Ok(self.there(spec, rows, "").await?.len() as u64);
        }
        let sets: Vec<String> =
            others.iter().map(|(_, column)| format!("{} = ?", quote::of("t", &column.name))).collect();
        let mut updated = 0;
        for row in rows {
            let mut args = Args::new();
            for (at, column) in &others {
                put(&mut args, spec, column, &Wire::of(column), &row[*at]);
            }
            let key = spec.key_of(row);
            let condition = sql::with_keys(&mut args, spec, "t", &[&key]);
            let statement = format!("UPDATE {} AS t SET {} WHERE {condition}", sql::table(spec), sets.join(", "));
            updated += self.main()?.execute(&statement, args).await?;
        }
        Ok(updated)
    }

    /// Writes rows by statements that take so many of them.
    async fn write_by(&mut self, spec: &TableSpec, rows: &[&Row], statement: impl Fn(usize) -> String) -> Result<()> {
        let wires = sql::wires(spec);
        let mut left = rows;
        while !left.is_empty() {
            let (args, count) = cells(spec, &wires, left);
            self.main()?.execute(&statement(count), args).await?;
            left = &left[count..];
        }
        Ok(())
    }

    /// See [`crate::node::Node::delete`].
    pub(super) async fn delete_rows(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<u64> {
        let groups: Vec<_> = groups.iter().filter(|(_, keys)| !keys.is_empty()).copied().collect();
        let unchecked = self.refer_to_each_other(groups.iter().map(|(spec, _)| *spec));
        if unchecked {
            self.main()?.run("SET SESSION foreign_key_checks = 0").await?;
        }
        let deleted = self.delete_groups(&groups).await;
        if unchecked {
            self.check_again().await?;
            let deleted = deleted?;
            for (spec, keys) in &groups {
                self.check_children(spec, keys).await?;
            }
            return Ok(deleted);
        }
        deleted
    }

    /// As for [`MySql::write_groups`].
    async fn delete_groups(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<u64> {
        let mut deleted = 0;
        for (spec, keys) in groups {
            self.announce(std::iter::once(*spec)).await?;
            self.forget_own(spec, keys, None).await?;
            for part in keys.chunks(sql::KEYS) {
                let mut args = Args::new();
                let condition = sql::with_keys(&mut args, spec, "t", part);
                let statement = format!("DELETE t FROM {} AS t WHERE {condition}", sql::table(spec));
                deleted += self.main()?.execute(&statement, args).await?;
                if !self.as_user {
                    self.forget_samples(spec, part).await?;
                }
            }
        }
        Ok(deleted)
    }

    /// That the rows to which these refer are there, and stay until the end of the transaction.
    async fn check_parents(&mut self, spec: &TableSpec, rows: &[&Row]) -> Result<()> {
        let keys: Vec<Key> = rows.iter().map(|row| spec.key_of(row)).collect();
        let keys: Vec<&Key> = keys.iter().collect();
        for reference in &spec.references {
            let parent = quote::ident(&reference.referenced_table);
            let pairs = reference.columns.iter().zip(&reference.referenced_columns);
            let joined: Vec<String> =
                pairs.map(|(own, other)| format!("{} = {}", quote::of("p", other), quote::of("t", own))).collect();
            let given: Vec<String> =
                reference.columns.iter().map(|own| format!("{} IS NOT NULL", quote::of("t", own))).collect();
            for part in keys.chunks(sql::KEYS) {
                let mut args = Args::new();
                let condition = sql::with_keys(&mut args, spec, "t", part);
                let statement = format!(
                    "SELECT 1 FROM {} AS t LEFT JOIN {parent} AS p ON {} WHERE {condition} AND {} AND {} IS NULL LIMIT 1 \
                     LOCK IN SHARE MODE",
                    sql::table(spec),
                    joined.join(" AND "),
                    given.join(" AND "),
                    quote::of("p", &reference.referenced_columns[0])
                );
                if !self.main()?.fetch(&statement, args).await?.is_empty() {
                    let message = format!(
                        "the foreign key {} of {} refers to a row of {} that is not there",
                        reference.name,
                        spec.full_name(),
                        reference.referenced_table
                    );
                    return Err(Error::new(ErrorKind::Constraint(Constraint::Reference), message));
                }
            }
        }
        Ok(())
    }

    /// That no row that referred to one of these keys, which are gone, refers to nothing now.
    async fn check_children(&mut self, spec: &TableSpec, keys: &[&Key]) -> Result<()> {
        for reference in &spec.referenced {
            let place = |name: &String| {
                let own = reference.referenced_columns.iter().position(|other| other == name)?;
                Some(quote::of("c", &reference.columns[own]))
            };
            let columns: Option<Vec<(&Column, String)>> =
                spec.key_columns().map(|column| Some((column, place(&column.name)?))).collect();
            let Some(columns) = columns else { continue };
            let joined: Vec<String> = columns
                .iter()
                .map(|(column, referring)| format!("{} = {referring}", quote::of("p", &column.name)))
                .collect();
            for part in keys.chunks(sql::KEYS) {
                let mut args = Args::new();
                // Another row may have a key that is the same to the server.
                let condition = sql::matching(&mut args, &columns, part.iter().map(|key| &key[..]), false);
                let statement = format!(
                    "SELECT 1 FROM {} AS c LEFT JOIN {} AS p ON {} WHERE {condition} AND {} IS NULL LIMIT 1 \
                     LOCK IN SHARE MODE",
                    quote::ident(&reference.table),
                    sql::table(spec),
                    joined.join(" AND "),
                    quote::of("p", &spec.columns[spec.key[0]].name)
                );
                if !self.main()?.fetch(&statement, args).await?.is_empty() {
                    let message =
                        format!("a row of {} refers to the row by the foreign key {}", reference.table, reference.name);
                    return Err(Error::new(ErrorKind::Constraint(Constraint::Reference), message));
                }
            }
        }
        Ok(())
    }

    /// Those of `keys` whose rows are there, locked as the last words of a query say.
    async fn lock_keys(&mut self, spec: &TableSpec, keys: &[&Key], lock: &str) -> Result<HashSet<Key>> {
        let wires: Vec<Wire> = spec.key_columns().map(Wire::of).collect();
        let mut found = HashSet::new();
        let names: Vec<String> =
            spec.key_columns().map(|column| sql::outgoing(column, &quote::of("t", &column.name))).collect();
        for part in keys.chunks(sql::KEYS) {
            let mut args = Args::new();
            let condition = sql::with_keys(&mut args, spec, "t", part);
            let statement =
                format!("SELECT {} FROM {} AS t WHERE {condition} {lock}", names.join(", "), sql::table(spec));
            for row in self.main()?.fetch(&statement, args).await? {
                let key: std::result::Result<Key, String> =
                    wires.iter().enumerate().map(|(at, wire)| wire.read(&row, at)).collect();
                found.extend(key.ok());
            }
        }
        Ok(found)
    }

    pub(super) async fn find_referred(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        going: &[(&TableSpec, &[&Key])],
    ) -> Result<Vec<Key>> {
        if self.hidden_from_who_compares(table).await?.is_some() {
            return Ok(keys.iter().map(|key| (*key).clone()).collect());
        }
        // Whoever adds a reference to a row locks it; after this nobody can until the transaction ends.
        self.lock_keys(table, keys, "FOR UPDATE").await?;
        let mut referred = HashSet::new();
        for reference in table.referenced.iter().filter(|reference| reference.on_delete != OnGone::Refuse) {
            let joined: Vec<String> = reference
                .columns
                .iter()
                .zip(&reference.referenced_columns)
                .map(|(own, other)| format!("{} = {}", quote::of("c", own), quote::of("t", other)))
                .collect();
            let going = going.iter().find(|(spec, keys)| spec.local == reference.table && !keys.is_empty());
            let mut columns: Vec<(&Column, &str)> = table.key_columns().map(|column| (column, "t")).collect();
            if let Some((child, _)) = going {
                columns.extend(child.key_columns().map(|column| (column, "c")));
            }
            let names: Vec<String> =
                columns.iter().map(|(column, alias)| sql::outgoing(column, &quote::of(alias, &column.name))).collect();
            let wires: Vec<Wire> = columns.iter().map(|(column, _)| Wire::of(column)).collect();
            let gone: HashSet<&Key> = going.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
            for part in keys.chunks(sql::KEYS) {
                let mut args = Args::new();
                let condition = sql::with_keys(&mut args, table, "t", part);
                let statement = format!(
                    "SELECT DISTINCT {} FROM {} AS t JOIN {} AS c ON {} WHERE {condition}",
                    names.join(", "),
                    sql::table(table),
                    quote::ident(&reference.table),
                    joined.join(" AND ")
                );
                for row in self.main()?.fetch(&statement, args).await? {
                    let cells: std::result::Result<Vec<Value>, String> =
                        wires.iter().enumerate().map(|(at, wire)| wire.read(&row, at)).collect();
                    let Ok(mut cells) = cells else { continue };
                    let child: Key = cells.split_off(table.key.len()).into();
                    if !gone.contains(&child) {
                        referred.insert(Key::from(cells));
                    }
                }
            }
        }
        Ok(keys.iter().filter(|key| referred.contains(**key)).map(|key| (*key).clone()).collect())
    }

    pub(super) async fn find_locked(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<Key>> {
        // With a patience of none MariaDB gives up the transaction where it should skip a row.
        self.main()?.run("SET SESSION innodb_lock_wait_timeout = 1").await?;
        let free = self.lock_keys(table, keys, "FOR UPDATE SKIP LOCKED").await?;
        self.be_quick().await?;
        let there = self.lock_keys(table, keys, "").await?;
        let held = |key: &&&Key| there.contains(**key) && !free.contains(**key);
        Ok(keys.iter().filter(held).map(|key| (*key).clone()).collect())
    }

    /// Asked over the second session, which sees what everybody has committed and nothing of this transaction's own.
    pub(super) async fn find_unseen(&mut self, table: &TableSpec, read: &Cut, keys: &[&Key]) -> Result<Vec<Key>> {
        let history = sql::history(table);
        let mut conditions = sql::beyond(read);
        conditions.extend(self.unmarked_beyond(table, read));
        let (mut any, mut args) = (Vec::new(), Args::new());
        for (condition, marks) in &conditions {
            any.push(format!("EXISTS (SELECT 1 FROM {history} AS h WHERE {condition})"));
            args.all(marks);
        }
        let statement = format!("SELECT {}, ({PURGED}), {SERVER}", any.join(" OR "));
        args.add(table.name.as_str());
        let rows = self.side().await?.fetch(&statement, args).await?;
        self.refuse_another_server(rows.first().and_then(|row| number(row, 2)))?;
        let is_all = |row: Option<&MySqlRow>, at| -> Result<bool> {
            let purged = row.and_then(|row| text(row, at)).map(|cut| parse::<Cut>(&cut)).transpose()?;
            Ok(purged.is_some_and(|purged| !read.includes(&purged)))
        };
        let all = || Ok(keys.iter().map(|key| (*key).clone()).collect());
        if is_all(rows.first(), 1)? {
            return all();
        }
        // Nearly always nothing is new, and the keys need not be looked at.
        if rows.first().and_then(|row| number(row, 0)) != Some(1) {
            return Ok(Vec::new());
        }
        let looked = self.read_new(table, &conditions).await;
        if looked.is_err() {
            self.side = None;
        }
        let (new, last) = looked?;
        self.refuse_another_server(last.first().and_then(|row| number(row, 1)))?;
        // What was purged between these queries was in none of them.
        if is_all(last.first(), 0)? {
            return all();
        }
        Ok(keys.iter().filter(|key| new.contains(**key)).map(|key| (*key).clone()).collect())
    }

    /// The keys of the entries that meet one of these conditions, and then up to where their history is purged and who says so:
    /// all in one transaction, so that a proxy brings it to one server.
    async fn read_new(
        &mut self,
        table: &TableSpec,
        conditions: &[sql::Bound],
    ) -> Result<(HashSet<Key>, Vec<MySqlRow>)> {
        let history = sql::history(table);
        let wires: Vec<Wire> = table.key_columns().map(Wire::of).collect();
        let columns: Vec<String> = table
            .key_columns()
            .zip(sql::history_keys(table))
            .map(|(column, name)| sql::outgoing(column, &format!("h.{name}")))
            .collect();
        let mut new: HashSet<Key> = HashSet::new();
        let side = self.side().await?;
        side.run("START TRANSACTION READ WRITE").await?;
        for (condition, marks) in conditions {
            let statement = format!("SELECT {} FROM {history} AS h WHERE {condition}", columns.join(", "));
            let mut args = Args::new();
            args.all(marks);
            side.stream(&statement, args, |row| {
                let key: std::result::Result<Key, String> =
                    wires.iter().enumerate().map(|(at, wire)| wire.read(&row, at)).collect();
                new.extend(key.ok());
                Ok(())
            })
            .await?;
        }
        let last = side.fetch(&format!("SELECT ({PURGED}), {SERVER}"), one(&table.name)).await?;
        side.run("ROLLBACK").await?;
        Ok((new, last))
    }

    /// Fails unless it is the server that is written to which was looked at: another may not know yet what users have committed.
    fn refuse_another_server(&mut self, looked_at: Option<i64>) -> Result<()> {
        let (Some(written), Some(looked_at)) = (self.server, looked_at) else { return Ok(()) };
        if written == looked_at {
            return Ok(());
        }
        // An address may have moved from one to the other in between, and both lead to the same then.
        self.side = None;
        if let Some(main) = &mut self.main {
            main.broken = true;
        }
        let message = format!(
            "its two sessions reach two servers, of server_id {written} and {looked_at}, as behind a proxy that sends what reads to \
             replicas; give the node the url of the server that is written to"
        );
        Err(Error::new(ErrorKind::Lost, message))
    }

    pub(super) async fn find_altered(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<(Key, String)>> {
        let keys: Vec<Key> = rows.iter().map(|row| table.key_of(row)).collect();
        let keys: Vec<&Key> = keys.iter().collect();
        let standing = self.read_rows(table, &keys, "").await?;
        let mut again: HashSet<Key> = self.recorded_here(table, &keys, ANY).await?.into_values().collect();
        // What is owed was there before the row was written.
        if let Some(owed) = self.owed.get(&table.index) {
            again.retain(|key| !owed.contains(key));
        }
        let mut altered = Vec::new();
        for (at, (row, standing)) in rows.iter().zip(standing).enumerate() {
            let lenient = self.lenient.contains(&(table.index, keys[at].clone()));
            let again = again.contains(keys[at]);
            let column = match standing {
                _ if lenient && !again => continue,
                None => Some("(the row is not there)".to_owned()),
                Some(Err(why)) => Some(why),
                Some(Ok(standing)) => {
                    let differs = standing.iter().zip(row.iter()).position(|(now, then)| now != then);
                    differs.map(|at| table.columns[at].name.clone())
                }
            };
            let column = column.or_else(|| again.then(|| "(a column that is not synced)".to_owned()));
            altered.extend(column.map(|column| (keys[at].clone(), column)));
        }
        Ok(altered)
    }

    /// Entries `h` of these keys that meet a condition and by which this transaction has recorded a change that is not Concord's: those
    /// that nobody else sees.
    pub(super) async fn recorded_here(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        condition: &str,
    ) -> Result<HashMap<i64, Key>> {
        let history = sql::history(table);
        let wires: Vec<Wire> = table.key_columns().map(Wire::of).collect();
        let names: Vec<String> = table
            .key_columns()
            .zip(sql::history_keys(table))
            .map(|(column, name)| sql::outgoing(column, &format!("h.{name}")))
            .collect();
        let mut found: HashMap<i64, Key> = HashMap::new();
        let statement = format!(
            "SELECT h.id, {} FROM {history} AS h WHERE {} AND h.origin IS NULL AND {condition}",
            names.join(", "),
            sql::is_unmarked()
        );
        let wanted: HashSet<&Key> = keys.iter().copied().collect();
        for row in self.main()?.fetch(&statement, Args::new()).await? {
            let key: std::result::Result<Key, String> =
                wires.iter().enumerate().map(|(at, wire)| wire.read(&row, at + 1)).collect();
            if let Some(key) = key.ok().filter(|key| wanted.contains(key)) {
                found.insert(int(&row, 0)?, key);
            }
        }
        let ids: Vec<i64> = found.keys().copied().collect();
        for part in ids.chunks(sql::KEYS) {
            let mut args = Args::new();
            args.all(part);
            let list = vec!["?"; part.len()].join(", ");
            let statement = format!("SELECT h.id FROM {history} AS h WHERE h.id IN ({list})");
            for row in self.side().await?.fetch(&statement, args).await? {
                found.remove(&int(&row, 0)?);
            }
        }
        Ok(found)
    }
}

/// The statement that writes so many rows. Where another row than that of the key is in the way it fails: whichever unique
/// index the server has met with, the row that it would change has to have the key that was given.
fn upsert(spec: &TableSpec, rows: usize) -> String {
    let same: Vec<String> = spec
        .key_columns()
        .map(|column| {
            let (there, given) = (quote::of("t", &column.name), format!("VALUES({})", quote::ident(&column.name)));
            let there = there.replacen("t.", &format!("{}.", sql::table(spec)), 1);
            match column.domain {
                Domain::Text { .. } => format!("{} <=> {}", sql::exact(&there), sql::exact(&given)),
                _ => format!("{there} <=> {given}"),
            }
        })
        .collect();
    let first = quote::ident(&spec.columns[spec.key[0]].name);
    let table = sql::table(spec);
    // As a condition the failure has no type that would have to suit the column's.
    let mut sets = vec![format!(
        "{first} = IF({}, {table}.{first}, IF({FAIL}, {table}.{first}, {table}.{first}))",
        same.join(" AND ")
    )];
    let others = spec.columns.iter().enumerate().filter(|(at, _)| !spec.key.contains(at));
    sets.extend(others.map(|(_, column)| {
        let name = quote::ident(&column.name);
        format!("{name} = VALUES({name})")
    }));
    format!("{} ON DUPLICATE KEY UPDATE {}", insert(spec, rows), sets.join(", "))
}

fn insert(spec: &TableSpec, rows: usize) -> String {
    let names = quote::idents(spec.columns.iter().map(|column| column.name.as_str()));
    format!("INSERT INTO {} ({names}) VALUES {}", sql::table(spec), marks(spec.columns.len(), rows))
}

/// The parameters of one statement, and of how many of the rows.
fn cells(spec: &TableSpec, wires: &[Wire], rows: &[&Row]) -> (Args, usize) {
    let most = (sql::PARAMETERS / spec.columns.len().max(1)).clamp(1, ROWS);
    let (mut args, mut count) = (Args::new(), 0);
    for row in rows.iter().take(most) {
        if count > 0 && args.size() >= LARGE {
            break;
        }
        count += 1;
        for ((column, wire), value) in spec.columns.iter().zip(wires).zip(row.iter()) {
            put(&mut args, spec, column, wire, value);
        }
    }
    (args, count)
}

/// Adds a value that is written. In place of a NULL that a column does not take the server would put the present time or the next
/// number without a word. Where users have triggers they may fill it in, and what they make of the row is looked at.
fn put(args: &mut Args, spec: &TableSpec, column: &Column, wire: &Wire, value: &Value) {
    if value.is_null() && !column.nullable && spec.user_triggers.is_empty() {
        let message = format!("column {} ({}) cannot be NULL", column.name, column.native);
        args.refuse(Error::new(ErrorKind::Constraint(Constraint::Other), message));
    }
    args.cell(column, wire, value);
}
