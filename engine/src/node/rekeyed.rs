//! A node whose tables have keys of their own: everybody else knows its rows by others.
//!
//! What is asked about keys and what is answered is told in shared keys, and stands in the database in the node's own
//! ([`TableSpec::keys`]). Rows are in the node's own shape, with its own keys, as everywhere. What the service tables keep of rows that
//! wait, and of what lost, is of shared keys: also of such as have none at the node.

use std::collections::HashMap;

use async_trait::async_trait;

use super::*;

/// A node, told of in shared keys.
pub struct Rekeyed(pub Box<dyn Node>);

/// The keys of a table as they are at the node, and by them those that were asked about. What has no key there is left out.
fn locals<'a>(table: &TableSpec, keys: &[&'a Key]) -> (Vec<Key>, HashMap<Key, &'a Key>) {
    let known: Vec<(Key, &Key)> = keys.iter().filter_map(|&key| Some((table.local_key(key).ok()?, key))).collect();
    (known.iter().map(|(local, _)| local.clone()).collect(), known.into_iter().collect())
}

/// The keys that were asked about.
fn asked(of: &HashMap<Key, &Key>, locals: Vec<Key>) -> Vec<Key> {
    locals.into_iter().map(|local| of.get(&local).map_or(local, |&key| key.clone())).collect()
}

fn local(table: &TableSpec, key: &Key) -> Result<Key> {
    let told = || format!("a key of {}", table.full_name());
    table.local_key(key).map_err(|why| Error::new(ErrorKind::Other, why).while_doing(told()))
}

type Rows = Vec<Option<std::result::Result<Row, String>>>;

impl Rekeyed {
    /// Puts answers about those keys that there are at the node between those about the others, where no row can stand.
    fn spaced(table: &TableSpec, keys: &[&Key], rows: Rows) -> Rows {
        let mut rows = rows.into_iter();
        keys.iter().map(|key| table.local_key(key).ok().and_then(|_| rows.next().flatten())).collect()
    }
}

#[async_trait]
impl Node for Rekeyed {
    async fn entries(&mut self, table: &TableSpec, after: &Cut, through: Option<i64>, limit: usize) -> Result<Entries> {
        let mut read = self.0.entries(table, after, through, limit).await?;
        if !table.keys.is_empty() {
            for entry in &mut read.entries {
                entry.key = table.shared_key(std::mem::take(&mut entry.key));
            }
        }
        Ok(read)
    }

    async fn entries_of(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        each: &mut (dyn FnMut(Entry) + Send),
    ) -> Result<()> {
        if table.keys.is_empty() {
            return self.0.entries_of(table, keys, each).await;
        }
        let (own, _) = locals(table, keys);
        let mut shared = |entry: Entry| each(Entry { key: table.shared_key(entry.key), ..entry });
        self.0.entries_of(table, &own.iter().collect::<Vec<_>>(), &mut shared).await
    }

    async fn rows(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Rows> {
        if table.keys.is_empty() {
            return self.0.rows(table, keys).await;
        }
        let (own, _) = locals(table, keys);
        let rows = self.0.rows(table, &own.iter().collect::<Vec<_>>()).await?;
        Ok(Rekeyed::spaced(table, keys, rows))
    }

    async fn stand(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<bool>> {
        if table.keys.is_empty() {
            return self.0.stand(table, keys).await;
        }
        Ok(self.rows(table, keys).await?.iter().map(Option::is_some).collect())
    }

    async fn namesakes(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<(Key, Key)>> {
        if table.keys.is_empty() {
            return self.0.namesakes(table, keys).await;
        }
        let (own, of) = locals(table, keys);
        let found = self.0.namesakes(table, &own.iter().collect::<Vec<_>>()).await?;
        let shared = |(key, holder): (Key, Key)| {
            let key = of.get(&key).map_or(key, |&key| key.clone());
            (key, table.shared_key(holder))
        };
        Ok(found.into_iter().map(shared).collect())
    }

    async fn walk(&mut self, table: &TableSpec, after: Option<&Key>, limit: usize) -> Result<Vec<Walked>> {
        if table.keys.is_empty() {
            return self.0.walk(table, after, limit).await;
        }
        let after = after.map(|key| local(table, key)).transpose()?;
        let walked = self.0.walk(table, after.as_ref(), limit).await?;
        Ok(walked.into_iter().map(|(key, row)| (table.shared_key(key), row)).collect())
    }

    async fn rows_now(&mut self, table: &TableSpec, keys: &[&Key], hold: bool) -> Result<Rows> {
        if table.keys.is_empty() {
            return self.0.rows_now(table, keys, hold).await;
        }
        let (own, _) = locals(table, keys);
        let rows = self.0.rows_now(table, &own.iter().collect::<Vec<_>>(), hold).await?;
        Ok(Rekeyed::spaced(table, keys, rows))
    }

    async fn delete(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<u64> {
        if groups.iter().all(|(table, _)| table.keys.is_empty()) {
            return self.0.delete(groups).await;
        }
        let own: Vec<Vec<Key>> = groups.iter().map(|(table, keys)| locals(table, keys).0).collect();
        let own: Vec<Vec<&Key>> = own.iter().map(|keys| keys.iter().collect()).collect();
        let groups: Vec<_> = groups.iter().zip(&own).map(|((table, _), keys)| (*table, &keys[..])).collect();
        self.0.delete(&groups).await
    }

    async fn write_as_user(&mut self, table: &TableSpec, key: &Key, row: Option<&Row>) -> Result<()> {
        self.0.write_as_user(table, &local(table, key)?, row).await
    }

    async fn obstacles(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<Obstacle>> {
        let mut obstacles = self.0.obstacles(table, rows).await?;
        for obstacle in &mut obstacles {
            obstacle.holder = obstacle.holder.take().map(|holder| table.shared_key(holder));
        }
        Ok(obstacles)
    }

    async fn still_referred(
        &mut self,
        table: &TableSpec,
        keys: &[&Key],
        going: &[(&TableSpec, &[&Key])],
    ) -> Result<Vec<Key>> {
        if table.keys.is_empty() && going.iter().all(|(table, _)| table.keys.is_empty()) {
            return self.0.still_referred(table, keys, going).await;
        }
        let (own, of) = locals(table, keys);
        let gone: Vec<Vec<Key>> = going.iter().map(|(table, keys)| locals(table, keys).0).collect();
        let gone: Vec<Vec<&Key>> = gone.iter().map(|keys| keys.iter().collect()).collect();
        let going: Vec<_> = going.iter().zip(&gone).map(|((table, _), keys)| (*table, &keys[..])).collect();
        let referred = self.0.still_referred(table, &own.iter().collect::<Vec<_>>(), &going).await?;
        Ok(asked(&of, referred))
    }

    async fn locked(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<Key>> {
        if table.keys.is_empty() {
            return self.0.locked(table, keys).await;
        }
        let (own, of) = locals(table, keys);
        Ok(asked(&of, self.0.locked(table, &own.iter().collect::<Vec<_>>()).await?))
    }

    async fn unseen(&mut self, table: &TableSpec, read: &Cut, keys: &[&Key]) -> Result<Vec<Key>> {
        if table.keys.is_empty() {
            return self.0.unseen(table, read, keys).await;
        }
        let (own, of) = locals(table, keys);
        Ok(asked(&of, self.0.unseen(table, read, &own.iter().collect::<Vec<_>>()).await?))
    }

    async fn altered(&mut self, table: &TableSpec, rows: &[&Row]) -> Result<Vec<(Key, String)>> {
        let altered = self.0.altered(table, rows).await?;
        Ok(altered.into_iter().map(|(key, column)| (table.shared_key(key), column)).collect())
    }

    async fn note(&mut self, table: &TableSpec, notes: &[&Note]) -> Result<()> {
        if table.keys.is_empty() {
            return self.0.note(table, notes).await;
        }
        // Of a key that there cannot be here nothing can be told.
        let own = |note: &&Note| Some(Note { key: table.local_key(&note.key).ok()?, ..(*note).clone() });
        let own: Vec<Note> = notes.iter().filter_map(own).collect();
        self.0.note(table, &own.iter().collect::<Vec<_>>()).await
    }

    async fn touch(&mut self, table: &TableSpec, key: &Key, since: Option<i64>) -> Result<()> {
        self.0.touch(table, &local(table, key)?, since).await
    }

    // ---- what tells nothing of keys, or only of shared ones ----

    async fn hidden_referring(&mut self, table: &TableSpec) -> Result<Option<MissingRight>> {
        self.0.hidden_referring(table).await
    }

    async fn probe(&mut self) -> Result<Probe> {
        self.0.probe().await
    }

    async fn catalogue(&mut self, table: &str) -> Result<Option<Catalogue>> {
        self.0.catalogue(table).await
    }

    async fn blueprint(&mut self, table: &str) -> Result<Option<Blueprint>> {
        self.0.blueprint(table).await
    }

    async fn draft(&mut self, blueprint: &Blueprint, taken: &mut HashSet<String>) -> Result<Draft> {
        self.0.draft(blueprint, taken).await
    }

    async fn build(&mut self, tables: &[Vec<String>], made: &mut (dyn FnMut(usize) + Send)) -> Building {
        self.0.build(tables, made).await
    }

    async fn missing_rights(&mut self, tables: &[TableSpec]) -> Result<Vec<MissingRight>> {
        self.0.missing_rights(tables).await
    }

    async fn missing_rights_to_compare(&mut self, tables: &[(&TableSpec, Writes)]) -> Result<Vec<MissingRight>> {
        self.0.missing_rights_to_compare(tables).await
    }

    async fn gaps(&mut self, tables: &[TableSpec]) -> Result<Vec<String>> {
        self.0.gaps(tables).await
    }

    async fn service(&mut self) -> Result<Option<Service>> {
        self.0.service().await
    }

    async fn recorded(&mut self, sync: &str, tables: &[TableSpec]) -> Result<Vec<usize>> {
        self.0.recorded(sync, tables).await
    }

    async fn install(&mut self, sync: &Sync, tables: &[TableSpec]) -> Result<Vec<String>> {
        self.0.install(sync, tables).await
    }

    async fn keep_shapes(&mut self, shapes: &[(String, String)]) -> Result<()> {
        self.0.keep_shapes(shapes).await
    }

    async fn uninstall(&mut self) -> Result<bool> {
        self.0.uninstall().await
    }

    async fn numbers(&mut self, table: &TableSpec, column: usize) -> Result<Numbers> {
        self.0.numbers(table, column).await
    }

    async fn greatest_in(&mut self, table: &TableSpec, column: usize, step: i64, slot: i64) -> Result<i64> {
        self.0.greatest_in(table, column, step, slot).await
    }

    async fn step_numbers(&mut self, table: &TableSpec, column: usize, steps: Steps) -> Result<Stepped> {
        self.0.step_numbers(table, column, steps).await
    }

    async fn restore_numbers(&mut self, keep: &[(&TableSpec, usize)]) -> Result<Vec<String>> {
        self.0.restore_numbers(keep).await
    }

    async fn reset(&mut self) -> Result<()> {
        self.0.reset().await
    }

    async fn renew(&mut self, former: &str, positions: &[(String, String, Cut)], progress: &str) -> Result<bool> {
        self.0.renew(former, positions, progress).await
    }

    async fn start_at(&mut self, positions: &[(String, String, Cut)]) -> Result<()> {
        self.0.start_at(positions).await
    }

    async fn forget(&mut self, node: &str, seen: &[(String, Cut)]) -> Result<bool> {
        self.0.forget(node, seen).await
    }

    async fn progress(&mut self) -> Result<Option<String>> {
        self.0.progress().await
    }

    async fn set_progress(&mut self, progress: Option<&str>) -> Result<()> {
        self.0.set_progress(progress).await
    }

    fn take_at_once(&mut self, entries: usize) {
        self.0.take_at_once(entries);
    }

    async fn begin_read(&mut self, tables: &[TableSpec]) -> Result<Opened> {
        self.0.begin_read(tables).await
    }

    fn strays(&self) -> i64 {
        self.0.strays()
    }

    async fn begin_scan(&mut self, tables: &[TableSpec]) -> Result<()> {
        self.0.begin_scan(tables).await
    }

    async fn holds(&mut self, entries: &[(&TableSpec, EntryId)]) -> Result<Vec<bool>> {
        self.0.holds(entries).await
    }

    async fn pending(&mut self, table: &str, after: &Cut, origin: Option<&str>) -> Result<u64> {
        self.0.pending(table, after, origin).await
    }

    async fn ledger(&mut self) -> Result<Ledger> {
        self.0.ledger().await
    }

    /// Whoever takes the rows brings their keys into shared form with them.
    async fn scan(&mut self, table: &TableSpec, lots: &Lots) -> Result<()> {
        self.0.scan(table, lots).await
    }

    async fn count(&mut self, table: &TableSpec) -> Result<u64> {
        self.0.count(table).await
    }

    async fn end_read(&mut self) -> Result<()> {
        self.0.end_read().await
    }

    async fn begin_apply(&mut self, tables: &[TableSpec]) -> Result<()> {
        self.0.begin_apply(tables).await
    }

    async fn begin_mend(&mut self, tables: &[TableSpec]) -> Result<()> {
        self.0.begin_mend(tables).await
    }

    async fn claim(&mut self, moves: &[Move]) -> Result<bool> {
        self.0.claim(moves).await
    }

    async fn waiting_now(&mut self, groups: &[(&TableSpec, &[&Key])]) -> Result<Vec<Parked>> {
        self.0.waiting_now(groups).await
    }

    async fn waiting_rows(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<Vec<Parked>> {
        self.0.waiting_rows(table, keys).await
    }

    fn give_snapshot(&mut self) -> Option<Box<dyn Node>> {
        Some(Box::new(Rekeyed(self.0.give_snapshot()?)))
    }

    async fn hurry(&mut self) -> Result<()> {
        self.0.hurry().await
    }

    async fn savepoint(&mut self) -> Result<()> {
        self.0.savepoint().await
    }

    async fn undo(&mut self) -> Result<()> {
        self.0.undo().await
    }

    async fn release(&mut self) -> Result<()> {
        self.0.release().await
    }

    async fn write(&mut self, groups: &[(&TableSpec, &[&Row], WriteMode)]) -> Result<u64> {
        self.0.write(groups).await
    }

    async fn make_room(&mut self, table: &TableSpec, rows: &[&Row], room: Room) -> Result<()> {
        self.0.make_room(table, rows, room).await
    }

    async fn writers(&mut self, table: &TableSpec) -> Result<Vec<i64>> {
        self.0.writers(table).await
    }

    async fn park(&mut self, tables: &[TableSpec], parked: &[Parked]) -> Result<()> {
        self.0.park(tables, parked).await
    }

    async fn unpark(&mut self, table: &TableSpec, keys: &[&Key]) -> Result<()> {
        self.0.unpark(table, keys).await
    }

    async fn record(&mut self, tables: &[TableSpec], lost: &[&Lost], again: bool) -> Result<()> {
        self.0.record(tables, lost, again).await
    }

    async fn advance(&mut self, moves: &[Move]) -> Result<()> {
        self.0.advance(moves).await
    }

    async fn commit(&mut self) -> Result<()> {
        self.0.commit().await
    }

    async fn rollback(&mut self) -> Result<()> {
        self.0.rollback().await
    }

    async fn purge(
        &mut self,
        table: &TableSpec,
        through: &Cut,
        arrivals: bool,
        witnesses: &[(&str, EntryId)],
    ) -> Result<u64> {
        self.0.purge(table, through, arrivals, witnesses).await
    }

    async fn begin_purge(&mut self, purges: &[Purge]) -> Result<bool> {
        self.0.begin_purge(purges).await
    }

    async fn pulse(&mut self, tables: &[TableSpec]) -> Result<u64> {
        self.0.pulse(tables).await
    }

    async fn journalled(&mut self, tables: &[TableSpec]) -> Result<u64> {
        self.0.journalled(tables).await
    }

    async fn journal_size(&mut self) -> Result<u64> {
        self.0.journal_size().await
    }

    async fn journal(&mut self, tables: &[TableSpec], sought: Sought<'_>, limit: usize) -> Result<Vec<Lost>> {
        self.0.journal(tables, sought, limit).await
    }

    async fn trim_journal(&mut self, before: i64, most: usize) -> Result<u64> {
        self.0.trim_journal(before, most).await
    }

    async fn blockers(&mut self) -> Result<Vec<String>> {
        self.0.blockers().await
    }
}
