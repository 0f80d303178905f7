//! Witnesses: a history knows the entries that it gave out, also those that were purged, as long as others need them to
//! see that it is the history whose changes they have applied.

use std::sync::Arc;

use concord::model::{Cut, Dot, Entry, EntryId, NodeId, Op, Stamp, TableSpec, Value, Vector};
use concord::node::{Node, Note, Purge, Sync};
use concord_tests::{As, Database, Kind, User, spec};

use crate::sync_races::locks::somebody_waits;

concord_tests::conformance! {
    every: [entries_are_known_by_number_and_time, purged_entries_are_remembered_for_their_targets, an_engine_that_fell_behind_forgets_nothing, a_slower_purge_takes_nothing_back, a_purge_of_nothing_writes_nothing, what_was_purged_unread_may_be_any_key, a_reset_forgets_all]
    standard: []
    sqlite: []
    postgres: [what_is_purged_while_it_is_looked_for_is_not_missed, a_purge_that_waited_takes_nothing_back]
    mariadb: [what_is_purged_while_it_is_looked_for_is_not_missed, a_purge_that_waited_takes_nothing_back]
}

struct Case {
    database: Database,
    node: Box<dyn Node>,
    specs: Vec<TableSpec>,
    user: User,
}

impl Case {
    async fn new(kind: Kind) -> Case {
        let database = Database::new(kind).await;
        database.user_as(As::Sync).await.execute("CREATE TABLE items (id integer PRIMARY KEY)").await;
        let mut node = database.node().await;
        let specs = vec![spec(&mut *node, "items", 0).await];
        let nodes = ["here", "there", "elsewhere"].map(str::to_owned).to_vec();
        let sync = Sync { name: "test".into(), nodes, node: "here".into() };
        node.install(&sync, &specs).await.unwrap_or_else(|error| panic!("install: {error}"));
        let user = database.user().await;
        Case { database, node, specs, user }
    }

    /// Users write rows, each in a transaction of its own that is read before the next begins; returns their entries.
    async fn changes(&mut self, ids: std::ops::Range<u32>) -> Vec<Entry> {
        let before = self.entries().await.len();
        for id in ids {
            self.user.execute(&format!("INSERT INTO items VALUES ({id})")).await;
            self.entries().await;
        }
        self.entries().await.split_off(before)
    }

    async fn entries(&mut self) -> Vec<Entry> {
        self.node.begin_read(&self.specs).await.expect("a snapshot");
        let page = self.node.entries(&self.specs[0], &Cut::START, None, 100).await.expect("a page");
        self.node.end_read().await.expect("the end");
        page.entries
    }

    async fn holds(&mut self, entries: &[EntryId]) -> Vec<bool> {
        self.node.begin_read(&self.specs).await.expect("a snapshot");
        let asked: Vec<_> = entries.iter().map(|entry| (&self.specs[0], *entry)).collect();
        let held = self.node.holds(&asked).await.expect("an answer");
        self.node.end_read().await.expect("the end");
        held
    }

    /// What is remembered, in the order of targets and ids.
    async fn kept(&mut self) -> Vec<(String, EntryId)> {
        let opened = self.node.begin_read(&self.specs).await.expect("a snapshot");
        self.node.end_read().await.expect("the end");
        let mut kept: Vec<_> = opened.kept.into_iter().map(|(_, target, entry)| (target, entry)).collect();
        kept.sort_by_key(|(target, entry)| (target.clone(), entry.id));
        kept
    }

    /// A change that was made elsewhere arrives.
    async fn arrival(&mut self) {
        self.node.begin_apply(&self.specs).await.expect("a transaction");
        let note = Note {
            key: vec![Value::Int(9)].into(),
            op: Op::Update,
            dot: Dot { node: NodeId(1), number: 7, mark: 7 },
            vector: Vector::EMPTY,
            stamp: Stamp { time: 1, node: NodeId(1) },
            images: None,
        };
        self.node.note(&self.specs[0], &[&note]).await.expect("an entry");
        self.node.commit().await.expect("a commit");
    }

    /// Up to where the history is purged, as is remembered.
    async fn purged(&mut self) -> Vec<(usize, Cut)> {
        let opened = self.node.begin_read(&self.specs).await.expect("a snapshot");
        self.node.end_read().await.expect("the end");
        opened.purged
    }

    async fn purge(&mut self, through: &Entry, arrivals: bool, witnesses: &[(&str, &Entry)]) -> u64 {
        let witnesses: Vec<_> = witnesses.iter().map(|(target, entry)| (*target, identity(entry))).collect();
        let cut = Cut::through(through.mark);
        self.node.purge(&self.specs[0], &cut, arrivals, &witnesses).await.expect("a purge")
    }
}

fn identity(entry: &Entry) -> EntryId {
    EntryId { mark: entry.mark, id: entry.id, time: entry.time }
}

fn remembered(expected: &[(&str, &Entry)]) -> Vec<(String, EntryId)> {
    expected.iter().map(|(target, entry)| ((*target).to_owned(), identity(entry))).collect()
}

async fn entries_are_known_by_number_and_time(kind: Kind) {
    let mut case = Case::new(kind).await;
    let entries = case.changes(0..2).await;
    let (first, last) = (identity(&entries[0]), identity(&entries[1]));
    let another = EntryId { time: last.time + 1, ..last };
    let beyond = EntryId { mark: last.mark + 5, id: last.id + 5, ..last };
    assert_eq!(case.holds(&[last, another, beyond, first]).await, [true, false, false, true]);
    assert_eq!(case.purge(&entries[0], false, &[]).await, 1);
    assert_eq!(case.holds(&[first, last]).await, [false, true]);
}

async fn purged_entries_are_remembered_for_their_targets(kind: Kind) {
    let mut case = Case::new(kind).await;
    let first = case.changes(0..3).await;
    // One that is not purged yet is remembered too, since it is known to be there.
    assert_eq!(case.purge(&first[1], false, &[("there", &first[1]), ("elsewhere", &first[2])]).await, 2);
    assert_eq!(case.kept().await, remembered(&[("elsewhere", &first[2]), ("there", &first[1])]));
    let second = case.changes(3..4).await;
    let invented = Entry { time: 1, ..second[0].clone() };
    assert_eq!(case.purge(&second[0], false, &[("there", &second[0]), ("there", &invented)]).await, 2);
    // The new one in place of the former, and nothing for which there is no entry; others keep theirs.
    assert_eq!(case.kept().await, remembered(&[("elsewhere", &first[2]), ("there", &second[0])]));
    assert_eq!(case.entries().await, []);
}

/// Its view of a target's position is older than what another engine purged meanwhile.
async fn an_engine_that_fell_behind_forgets_nothing(kind: Kind) {
    let mut case = Case::new(kind).await;
    case.arrival().await;
    let entries = case.changes(0..2).await;
    assert_eq!(case.purge(&entries[1], false, &[("there", &entries[1])]).await, 2);
    assert_eq!(case.purge(&entries[0], true, &[("there", &entries[0])]).await, 1);
    assert_eq!(case.kept().await, remembered(&[("there", &entries[1])]));
}

/// Whoever read before more was purged than a slower engine purges has to see it.
async fn a_slower_purge_takes_nothing_back(kind: Kind) {
    let mut case = Case::new(kind).await;
    case.arrival().await;
    let entries = case.changes(0..2).await;
    assert_eq!(case.purge(&entries[1], false, &[]).await, 2);
    let all = [(0, Cut::through(entries[1].mark))];
    assert_eq!(case.purged().await, all);
    // What arrived is still there to be deleted, and then nothing is.
    for gone in [1, 0] {
        assert_eq!(case.purge(&entries[0], true, &[]).await, gone);
        assert_eq!(case.purged().await, all, "{gone} deleted");
    }
    let entries = case.changes(2..3).await;
    assert_eq!(case.purge(&entries[0], true, &[]).await, 1);
    assert_eq!(case.purged().await, [(0, Cut::through(entries[0].mark))]);
}

/// The same where it has begun before the other has committed.
async fn a_purge_that_waited_takes_nothing_back(kind: Kind) {
    let mut case = Case::new(kind).await;
    let entries = case.changes(0..2).await;
    let through = Cut::through(entries[1].mark);
    let mut faster = case.database.node().await;
    let table = Arc::new(case.specs[0].clone());
    let purge = Purge { table, through: through.clone(), arrivals: true, witnesses: Vec::new() };
    assert!(faster.begin_purge(&[purge]).await.expect("entries that can be deleted"));
    let Case { database, node, specs, .. } = &mut case;
    let committing = async {
        somebody_waits(database).await;
        faster.commit().await.expect("a commit");
    };
    let slower = Cut::through(entries[0].mark);
    let (purged, ()) = futures::join!(node.purge(&specs[0], &slower, true, &[]), committing);
    purged.expect("a purge");
    assert_eq!(case.purged().await, [(0, through)]);
}

async fn a_purge_of_nothing_writes_nothing(kind: Kind) {
    let mut case = Case::new(kind).await;
    let entries = case.changes(0..2).await;
    assert_eq!(case.purge(&entries[1], true, &[("there", &entries[1])]).await, 2);
    let state = match kind {
        Kind::Sqlite => "SELECT data_version FROM pragma_data_version",
        Kind::Mariadb => "CHECKSUM TABLE concord_purged, concord_witness",
        Kind::Postgres => "SELECT (SELECT xmin::text FROM concord.purged) || (SELECT xmin::text FROM concord.witness)",
    };
    let mut observer = case.database.user_as(As::Sync).await;
    let before = observer.rows(state).await;
    assert_eq!(case.purge(&entries[1], true, &[("there", &entries[1])]).await, 0);
    assert_eq!(observer.rows(state).await, before);
}

/// Of the changes that another engine has carried and purged since this one read nobody tells which rows they were about.
async fn what_was_purged_unread_may_be_any_key(kind: Kind) {
    let mut case = Case::new(kind).await;
    let entries = case.changes(0..3).await;
    let (one, other) = (entries[1].key.clone(), entries[2].key.clone());
    let read = Cut::through(entries[1].mark);
    let mut engine = case.database.node().await;
    engine.begin_read(&case.specs).await.expect("a snapshot");
    engine.end_read().await.expect("the end");
    for (purged, unseen) in [(0, vec![&other]), (1, vec![&other]), (2, vec![&one, &other])] {
        case.purge(&entries[purged], true, &[]).await;
        engine.begin_apply(&case.specs).await.expect("a transaction");
        let found = engine.unseen(&case.specs[0], &read, &[&one, &other]).await.expect("an answer");
        assert_eq!(found.iter().collect::<Vec<_>>(), unseen, "purged up to {purged}");
        engine.rollback().await.expect("it can be given up");
    }
}

/// A change is in the history or counts as purged, at whatever moment another engine purges it.
async fn what_is_purged_while_it_is_looked_for_is_not_missed(kind: Kind) {
    let mut case = Case::new(kind).await;
    let mut read = Cut::through(case.changes(0..1).await[0].mark);
    let spec = case.specs[0].clone();
    let mut engine = case.database.node().await;
    for id in 1..60 {
        let entry = case.changes(id..id + 1).await.remove(0);
        engine.begin_apply(std::slice::from_ref(&spec)).await.expect("a transaction");
        let mut purging = std::pin::pin!(case.purge(&entry, true, &[]));
        loop {
            let keys = [&entry.key];
            let asking = engine.unseen(&spec, &read, &keys);
            let (purged, unseen) = futures::join!(futures::future::poll_immediate(&mut purging), asking);
            assert_eq!(unseen.expect("an answer"), std::slice::from_ref(&entry.key), "round {id}");
            if purged.is_some() {
                break;
            }
        }
        engine.rollback().await.expect("it can be given up");
        read = Cut::through(entry.mark);
    }
}

async fn a_reset_forgets_all(kind: Kind) {
    let mut case = Case::new(kind).await;
    let entries = case.changes(0..1).await;
    assert_eq!(case.purge(&entries[0], true, &[("there", &entries[0])]).await, 1);
    case.node.reset().await.expect("a reset");
    assert_eq!(case.kept().await, []);
}
