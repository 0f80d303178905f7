//! Rows that wait: when they are tried again, and when not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use concord::fault::{self, Faults};
use concord::sync::{Cycle, Session};
use concord_tests::{As, Cluster, Kind, PATIENCE, wait_until};

concord_tests::clusters! {
    pairs: [
        a_sync_tries_once, thousands_without_a_parent, a_parent_that_a_user_brings, a_child_that_goes, a_unique_value_that_is_given_up,
        conflicts_left_to_a_person_cost_nothing, what_the_waiting_row_becomes, a_parent_that_waits_itself,
    ]
    many: []
    all: []
}

/// Orders of customers who are not at b: `customers` goes from b to a only.
fn shop(_: Kind) -> String {
    "CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL);
     CREATE TABLE orders (id integer PRIMARY KEY, customer integer NOT NULL REFERENCES customers (id), item text);
     CREATE TABLE news (id integer PRIMARY KEY, body text);
     INSERT INTO customers VALUES (1, 'ann'), (2, 'bob')"
        .to_owned()
}

const SHOP: &str = "[tables.orders]\n[tables.customers]\nfrom = \"b\"\n[tables.news]";

/// The same with parts of the orders.
fn parts(kind: Kind) -> String {
    shop(kind) + "; CREATE TABLE parts (id integer PRIMARY KEY, order_id integer NOT NULL REFERENCES orders (id))"
}

const PART: &str = "INSERT INTO customers VALUES (3, 'cyd'); INSERT INTO orders VALUES (30, 3, 'z');
                    INSERT INTO parts VALUES (300, 30)";

/// How often fault points were passed meanwhile: rows tried in a statement, rows deleted in one, batches begun, rows read for decisions.
#[derive(Debug, PartialEq)]
struct Passed {
    attempts: u64,
    deletes: u64,
    batches: u64,
    reads: u64,
}

async fn counting<T>(work: impl Future<Output = T>) -> (T, Passed) {
    let faults = Arc::new(Mutex::new(Faults::default()));
    let done = Box::pin(fault::scoped(Arc::clone(&faults), work)).await;
    let passed = |point: &str| faults.lock().expect("no test panics while it holds it").passes(point);
    let [attempts, deletes, batches, reads] = ["apply-attempt", "apply-delete", "apply-begin", "fetch"].map(passed);
    (done, Passed { attempts, deletes, batches, reads })
}

#[track_caller]
fn cycle(session: &mut Session) -> impl Future<Output = (Cycle, Passed)> {
    let caller = std::panic::Location::caller();
    async move {
        let (cycle, passed) = counting(session.cycle()).await;
        (cycle.unwrap_or_else(|error| panic!("{caller}: {error}")), passed)
    }
}

const NOTHING: Passed = Passed { attempts: 0, deletes: 0, batches: 0, reads: 0 };

async fn a_sync_tries_once(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, shop, "[tables.orders]\n[tables.news]\n[defaults]\nbatch = 1").await;
    // GIVEN a row that waits for one that is not synced
    cluster.run(0, "INSERT INTO customers VALUES (3, 'cyd'); INSERT INTO orders VALUES (30, 3, 'z')").await;
    assert_eq!(cluster.sync().await.waiting, 1);
    // WHEN a sync takes several cycles for other things
    for id in 1..5 {
        cluster.run(0, &format!("INSERT INTO news VALUES ({id}, 'x')")).await;
    }
    let mut session = cluster.session();
    let (summary, passed) = counting(session.sync()).await;
    // THEN what was new is tried once, and so is the row, in the first batch at its place and, because something else was
    // written after it, at the end; it waits on and is told
    let summary = summary.expect("a sync");
    assert!(summary.cycles > 4, "{} cycles", summary.cycles);
    assert_eq!((summary.waiting, summary.exit_code(), passed.attempts), (1, 1, 6));
    assert_eq!(cluster.waiting().await, ["b orders [30] constraint"]);
    // Another run tries it again, and so does the next of the same session.
    for _ in 0..2 {
        let (summary, passed) = counting(session.sync()).await;
        assert_eq!((summary.expect("a sync").waiting, passed.attempts), (1, 1));
    }
    cluster.run(1, "INSERT INTO customers VALUES (3, 'cyd')").await;
    assert_eq!(session.sync().await.expect("a sync").waiting, 0);
    cluster.holds("SELECT * FROM orders", &["30|3|z"]).await;
}

async fn a_parent_that_a_user_brings(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, shop, SHOP).await;
    cluster.run(0, "INSERT INTO customers VALUES (3, 'cyd'); INSERT INTO orders VALUES (30, 3, 'z')").await;
    let mut session = cluster.session();
    assert_eq!(cycle(&mut session).await.0.waiting, 1);
    // What has nothing to do with it makes nobody try, and the row counts as one that waits all the same.
    for (at, load) in [(0, "INSERT INTO news VALUES (1, 'x')"), (0, "INSERT INTO orders VALUES (10, 1, 'x')")] {
        let (rest, passed) = cycle(&mut session).await;
        assert_eq!((rest.waiting, rest.is_quiet(), passed), (1, true, NOTHING));
        cluster.run(at, load).await;
        let (busy, passed) = cycle(&mut session).await;
        assert_eq!((busy.waiting, passed.attempts), (1, 1), "{load}");
    }
    // A parent does: in the cycle that hears of it. First another one.
    cluster.run(1, "INSERT INTO customers VALUES (4, 'dan')").await;
    let (other, passed) = cycle(&mut session).await;
    assert_eq!((other.waiting, passed.attempts), (1, 2));
    assert_eq!(cycle(&mut session).await.1, NOTHING);
    cluster.run(1, "INSERT INTO customers VALUES (3, 'cyd')").await;
    assert_eq!(cycle(&mut session).await.0.waiting, 0);
    cluster.holds("SELECT * FROM orders ORDER BY id", &["10|1|x", "30|3|z"]).await;
}

/// A deletion waits for rows that refer to the row, and the child for a parent that is gone: either is tried as soon as the
/// other side changes.
async fn a_child_that_goes(kinds: &[Kind]) {
    let tables = "[tables.orders]\n[tables.customers]\n[tables.news]";
    let mut cluster = Cluster::new(kinds, shop, tables).await;
    cluster.run(0, "DELETE FROM customers WHERE id = 2").await;
    cluster.run(1, "INSERT INTO orders VALUES (20, 2, 'y')").await;
    let mut session = cluster.session();
    assert_eq!(cycle(&mut session).await.0.waiting, 2);
    assert_eq!(cluster.waiting().await, ["a orders [20] constraint", "b customers [2] constraint"]);
    cluster.run(0, "INSERT INTO news VALUES (1, 'x')").await;
    cycle(&mut session).await;
    assert_eq!(cycle(&mut session).await.1, NOTHING);
    cluster.run(1, "UPDATE orders SET customer = 1").await;
    assert_eq!(cycle(&mut session).await.0.waiting, 0);
    cluster.settle().await;
    cluster.holds("SELECT * FROM orders", &["20|1|y"]).await;
    cluster.holds("SELECT id FROM customers", &["1"]).await;
}

/// However many rows lack their parents, the database tells which they are.
async fn thousands_without_a_parent(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, shop, SHOP).await;
    let orders = "INSERT INTO orders WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
                  SELECT i, 1 + 2 * (i % 2), 'x' FROM n";
    cluster.run(0, &format!("INSERT INTO customers VALUES (3, 'cyd'); {orders}")).await;
    let mut session = cluster.session();
    let (first, passed) = cycle(&mut session).await;
    assert_eq!(first.waiting, 1500);
    assert!(passed.attempts <= 4, "{passed:?}");
    let reasons = cluster.reasons("b").await;
    assert!(
        reasons.iter().all(|reason| reason.contains("refers to a row of customers that is not there")),
        "{reasons:?}"
    );
    assert_eq!(cycle(&mut session).await.1, NOTHING);
    cluster.run(1, "INSERT INTO customers VALUES (3, 'cyd')").await;
    assert_eq!(cycle(&mut session).await.0.waiting, 0);
    cluster.holds("SELECT count(*) FROM orders", &["3000"]).await;
}

async fn a_unique_value_that_is_given_up(kinds: &[Kind]) {
    let setup = |_| "CREATE TABLE seats (id integer PRIMARY KEY, seat text UNIQUE)".to_owned();
    let mut cluster = Cluster::new(kinds, setup, "[tables.seats]").await;
    cluster.run(0, "INSERT INTO seats VALUES (4, 'new')").await;
    cluster.run(1, "INSERT INTO seats VALUES (5, 'new')").await;
    let mut session = cluster.session();
    assert_eq!(cycle(&mut session).await.0.waiting, 2);
    assert_eq!(cycle(&mut session).await.1, NOTHING);
    let reasons = cluster.reasons("b").await;
    assert!(reasons[0].contains("has the same seat") && reasons[0].contains("change one"), "{reasons:?}");
    cluster.quiet().await;
    cluster.run(1, "DELETE FROM seats WHERE id = 5").await;
    assert_eq!(cycle(&mut session).await.0.waiting, 0);
    cluster.settle().await;
    cluster.holds("SELECT * FROM seats", &["4|new"]).await;
}

async fn conflicts_left_to_a_person_cost_nothing(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, shop, "[tables.news]\nconflict = \"park\"").await;
    cluster.run(0, "INSERT INTO news VALUES (1, 'a')").await;
    cluster.run(1, "INSERT INTO news VALUES (1, 'b')").await;
    let mut session = cluster.session();
    assert_eq!(cycle(&mut session).await.0.waiting, 2);
    for id in 2..4 {
        let (rest, passed) = cycle(&mut session).await;
        assert_eq!((rest.waiting, rest.conflicts, passed), (2, 0, NOTHING));
        cluster.run(0, &format!("INSERT INTO news VALUES ({id}, 'c')")).await;
        let (busy, passed) = cycle(&mut session).await;
        assert_eq!((busy.waiting, passed), (2, Passed { attempts: 1, batches: 1, reads: 1, deletes: 0 }));
    }
    assert_eq!(cluster.waiting().await, ["a news [1] conflict", "b news [1] conflict"]);
    cluster.session().drop_parked(|row| row.node == "a").await.expect("it can be dropped");
    assert_eq!(cycle(&mut session).await.0.waiting, 0);
    cluster.settle().await;
    cluster.holds("SELECT body FROM news WHERE id = 1", &["a"]).await;
}

/// Put off or not, the row takes part in what is decided about it.
async fn what_the_waiting_row_becomes(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, shop, SHOP).await;
    cluster.run(0, "INSERT INTO customers VALUES (3, 'cyd'); INSERT INTO orders VALUES (30, 3, 'z')").await;
    let mut session = cluster.session();
    cycle(&mut session).await;
    assert_eq!(cycle(&mut session).await.1, NOTHING);
    // Changed where it was made, it is tried; changed where it waits, it is a conflict, which the later one wins.
    cluster.later(0, "UPDATE orders SET item = 'zz' WHERE id = 30").await;
    let (tried, passed) = cycle(&mut session).await;
    assert_eq!((tried.waiting, passed.attempts), (1, 1));
    assert_eq!(cycle(&mut session).await.1, NOTHING);
    cluster.later(1, "INSERT INTO orders VALUES (30, 1, 'mine')").await;
    let (decided, _) = cycle(&mut session).await;
    assert_eq!((decided.waiting, decided.conflicts), (0, 1));
    cluster.quiet().await;
    cluster.holds("SELECT * FROM orders", &["30|1|mine"]).await;
}

/// The parent waits for its own parent: both arrive when that does.
async fn a_parent_that_waits_itself(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, parts, &format!("[tables.parts]\n{SHOP}")).await;
    cluster.run(0, PART).await;
    let mut session = cluster.session();
    assert_eq!(cycle(&mut session).await.0.waiting, 2);
    assert_eq!(cycle(&mut session).await.1, NOTHING);
    cluster.run(1, "INSERT INTO customers VALUES (3, 'cyd')").await;
    assert_eq!(cycle(&mut session).await.0.waiting, 1);
    assert_eq!(cycle(&mut session).await.0.waiting, 0);
    cluster.quiet().await;
    cluster.holds("SELECT * FROM parts", &["300|30"]).await;
}

/// A row that waits at two nodes is tried at the one where the row that it needs has come.
#[tokio::test]
async fn tried_only_where_something_happened() {
    let cluster = Cluster::bare(&[Kind::Sqlite, Kind::Postgres, Kind::Sqlite], |_| String::new(), "").await;
    let mut cluster = cluster;
    cluster.configure(&format!("[tables.parts]\n{SHOP}"));
    for (node, name) in cluster.nodes.iter().zip(["text", "text", "text CHECK (name <> 'cyd')"]) {
        let setup = parts(node.database.kind()).replace("name text", &format!("name {name}"));
        node.database.user_as(As::Sync).await.execute(&setup).await;
    }
    cluster.install().await;
    cluster.run(0, PART).await;
    let mut session = cluster.session();
    assert_eq!(cycle(&mut session).await.0.waiting, 4);
    // The customer arrives at b, and c does not take it: the order is tried at both, and follows at b.
    cluster.run(1, "INSERT INTO customers VALUES (3, 'cyd')").await;
    assert_eq!(cycle(&mut session).await.0.waiting, 4);
    // So the part is tried at b.
    let (last, passed) = cycle(&mut session).await;
    assert_eq!((last.waiting, passed.attempts), (3, 1));
    assert_eq!(
        cluster.waiting().await,
        ["c customers [3] constraint", "c orders [30] constraint", "c parts [300] constraint"]
    );
}

/// Nothing tells that a constraint was lifted: the clock finds out.
#[tokio::test]
async fn a_watch_tries_again_by_the_clock() {
    let both = &[Kind::Postgres, Kind::Postgres];
    let mut cluster = Cluster::bare(both, shop, "[tables.orders]\n[tables.customers]").await;
    let mut admin = cluster.nodes[1].database.user_as(As::Sync).await;
    admin.execute("ALTER TABLE customers ADD CONSTRAINT short CHECK (length(name) < 4)").await;
    cluster.install().await;
    cluster.run(0, "INSERT INTO customers VALUES (3, 'cydney'); INSERT INTO orders VALUES (30, 3, 'z')").await;
    let mut session = cluster.session();
    let cycles = Mutex::new(0u64);
    let stop = async {
        let many = async || (*cycles.lock().expect("nobody panics") > 60).then_some(());
        wait_until("many cycles", PATIENCE, many).await;
        admin.execute("ALTER TABLE customers DROP CONSTRAINT short").await;
        let arrived = "SELECT id FROM orders WHERE id = 30";
        wait_until("the order", PATIENCE, async || (!admin.rows(arrived).await.is_empty()).then_some(())).await;
    };
    let watching = session.watch(Duration::from_millis(20), stop, |_| *cycles.lock().expect("nobody panics") += 1);
    let (watched, passed) = counting(watching).await;
    watched.expect("it can be watched");
    // Two rows, at the start and after 1, 3 and 7 seconds, and a few cycles that began as they arrived.
    assert!(passed.batches < 20, "{passed:?} in {cycles:?} cycles");
    cluster.settle().await;
}

/// What waits for a row that waits itself follows it at once, though nothing was written that a pulse would tell.
#[tokio::test]
async fn a_watch_goes_on_at_once_when_a_row_is_freed() {
    let both = &[Kind::Postgres, Kind::Postgres];
    let mut cluster = Cluster::new(both, parts, &format!("[tables.parts]\n{SHOP}")).await;
    cluster.run(0, PART).await;
    let mut session = cluster.session();
    let [mut user, mut observer] = [cluster.nodes[1].database.user().await, cluster.nodes[1].database.user().await];
    let cycles = Mutex::new(0u64);
    let stop = async {
        wait_until("a cycle", PATIENCE, async || (*cycles.lock().expect("nobody panics") > 0).then_some(())).await;
        user.execute("INSERT INTO customers VALUES (3, 'cyd')").await;
        let arrived = "SELECT id FROM parts";
        wait_until("the part", PATIENCE, async || (!observer.rows(arrived).await.is_empty()).then_some(())).await;
    };
    let hour = Duration::from_secs(3600);
    let watched = Box::pin(session.watch(hour, stop, |_| *cycles.lock().expect("nobody panics") += 1)).await;
    watched.expect("it can be watched");
    cluster.quiet().await;
}

/// A trigger that marks rows as deleted instead of deleting them, at one node.
#[tokio::test]
async fn a_delete_that_a_trigger_turns_into_something_else() {
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, name text); INSERT INTO items VALUES (1, 'one'), (2, 'two')"
            .to_owned()
    };
    let mut cluster = Cluster::bare(&[Kind::Postgres, Kind::Postgres, Kind::Sqlite], setup, "[tables.items]").await;
    let trigger = "CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                       UPDATE items SET name = 'deleted' WHERE id = OLD.id; RETURN NULL; END $$;
                   CREATE TRIGGER soft BEFORE DELETE ON items FOR EACH ROW EXECUTE FUNCTION mark()";
    cluster.nodes[1].database.user_as(As::Sync).await.execute(trigger).await;
    cluster.install().await;
    cluster.run(0, "DELETE FROM items WHERE id = 1; UPDATE items SET name = 'zwei' WHERE id = 2").await;
    cluster.sync().await;
    assert_eq!(cluster.reasons("b").await, ["a trigger of public.items (soft) keeps the row or brings it back"]);
    cluster.holds_at(1, "SELECT * FROM items ORDER BY id", &["1|one", "2|zwei"]).await;
    cluster.holds_at(2, "SELECT * FROM items", &["2|zwei"]).await;
    cluster.quiet().await;
    cluster.nodes[1].database.user_as(As::Sync).await.execute("DROP TRIGGER soft ON items").await;
    cluster.settle().await;
    cluster.holds("SELECT * FROM items", &["2|zwei"]).await;
}

/// GIVEN many rows that a node refuses for what they are
/// WHEN one of them is corrected and another comes
/// THEN these do not wait for the others, of which not each is tried by itself again; and all come once they may.
#[tokio::test]
async fn hundreds_that_are_refused_are_not_each_tried_again() {
    let tables = |_| "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL)".to_owned();
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Postgres], tables, "[tables.items]").await;
    cluster.run_as_owner(1, "ALTER TABLE items ADD CONSTRAINT small CHECK (amount < 100)").await;
    cluster.run(0, "INSERT INTO items SELECT i, 100 FROM generate_series(1, 800) AS i").await;
    assert_eq!(cluster.sync().await.waiting, 800);
    cluster.run(0, "UPDATE items SET amount = 1 WHERE id = 400; INSERT INTO items VALUES (1000, 1)").await;
    let mut session = cluster.session();
    let (again, passed) = counting(session.sync()).await;
    assert_eq!(again.expect("a sync").waiting, 799);
    assert!(passed.attempts <= 600, "{passed:?}");
    cluster.holds_at(1, "SELECT id FROM items ORDER BY id", &["400", "1000"]).await;
    let reasons = cluster.reasons("b").await;
    assert!(reasons.len() == 799 && reasons.iter().all(|reason| reason.contains("small")), "{reasons:?}");
    cluster.run_as_owner(1, "ALTER TABLE items DROP CONSTRAINT small").await;
    cluster.settle().await;
    cluster.holds("SELECT count(*) FROM items", &["801"]).await;
}

/// GIVEN many rows that a node refuses, and two of another table, one of which it takes by now
/// WHEN the many use up the attempts that are made at what was refused before
/// THEN the other table has its own.
#[tokio::test]
async fn hundreds_that_are_refused_leave_another_table_its_turn() {
    let tables = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL);
         CREATE TABLE events (id integer PRIMARY KEY, month integer NOT NULL)"
            .to_owned()
    };
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Postgres], tables, "[tables.items]\n[tables.events]").await;
    cluster.run_as_owner(1, "ALTER TABLE items ADD CONSTRAINT small CHECK (amount < 100)").await;
    cluster.run_as_owner(1, "ALTER TABLE events ADD CONSTRAINT january CHECK (month <> 1)").await;
    cluster.run_as_owner(1, "ALTER TABLE events ADD CONSTRAINT february CHECK (month <> 2)").await;
    let many = "INSERT INTO items SELECT i, 100 FROM generate_series(1, 400) AS i";
    cluster.run(0, &format!("{many}; INSERT INTO events VALUES (1, 1), (2, 2)")).await;
    assert_eq!(cluster.sync().await.waiting, 402);
    cluster.run_as_owner(1, "ALTER TABLE events DROP CONSTRAINT january").await;
    assert_eq!(cluster.sync().await.waiting, 401);
    cluster.holds_at(1, "SELECT id FROM events", &["1"]).await;
}

/// They are not where nobody can tell which of them hold unique values that others want, so that all are to step aside, either.
#[tokio::test]
async fn hundreds_that_are_refused_are_not_each_sifted_again() {
    let tables = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, name text NOT NULL, amount integer NOT NULL);
         CREATE UNIQUE INDEX items_name ON items (lower(name))"
            .to_owned()
    };
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Postgres], tables, "[tables.items]").await;
    cluster.run_as_owner(1, "ALTER TABLE items ADD CONSTRAINT small CHECK (amount < 100)").await;
    cluster.run(0, "INSERT INTO items SELECT i, 'n' || i, 100 FROM generate_series(1, 400) AS i").await;
    assert_eq!(cluster.sync().await.waiting, 400);
    cluster.run(0, "UPDATE items SET amount = 1 WHERE id = 200; INSERT INTO items VALUES (1000, 'new', 1)").await;
    let mut session = cluster.session();
    let (again, passed) = counting(session.sync()).await;
    assert_eq!(again.expect("a sync").waiting, 399);
    assert!(passed.attempts <= 600, "{passed:?}");
    cluster.holds_at(1, "SELECT id FROM items ORDER BY id", &["200", "1000"]).await;
    cluster.run_as_owner(1, "ALTER TABLE items DROP CONSTRAINT small").await;
    cluster.settle().await;
    cluster.holds("SELECT count(*) FROM items", &["401"]).await;
}

/// Nor are they where they are to be deleted, and rows that only this node has keep them.
#[tokio::test]
async fn hundreds_that_are_kept_are_not_each_deleted_again() {
    let tables =
        |_| "CREATE TABLE items (id integer PRIMARY KEY); INSERT INTO items SELECT generate_series(1, 400)".to_owned();
    let mut cluster = Cluster::new(&[Kind::Postgres, Kind::Postgres], tables, "[tables.items]").await;
    let uses = "CREATE TABLE uses (item integer REFERENCES items (id)); INSERT INTO uses SELECT id FROM items";
    cluster.run_as_owner(1, uses).await;
    cluster.run(0, "DELETE FROM items").await;
    assert_eq!(cluster.sync().await.waiting, 400);
    let mut session = cluster.session();
    let (again, passed) = counting(session.sync()).await;
    assert_eq!(again.expect("a sync").waiting, 400);
    assert!((400..=600).contains(&passed.deletes), "{passed:?}");
    let reasons = cluster.reasons("b").await;
    assert!(reasons.iter().all(|reason| reason.contains("uses")), "{reasons:?}");
    cluster.run_as_owner(1, "DELETE FROM uses").await;
    cluster.settle().await;
    cluster.holds("SELECT count(*) FROM items", &["0"]).await;
}
