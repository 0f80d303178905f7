//! A plugin that breaks at whatever it is asked: its table stands still, and nothing of it waits, is lost or is carried by halves.

use concord::sync::Wish;
use concord_tests::{Cluster, Kind};

const LIMITS: &str = "[limits.hostile]\nmemory = 16\nfuel = 50000000\nfuel_per_row = 1000000\n";

/// The function that breaks down, and the section of its table.
const BROKEN: [(&str, &str); 4] = [
    ("resolve", "[tables.resolve]\nconflict = { plugin = \"hostile\", attack = \"panic\" }\n"),
    ("judge", "[tables.judge.nodes.b]\nfilter = { plugin = \"hostile\", attack = \"panic\" }\n"),
    ("to-shared", "[tables.to-shared.nodes.b]\nmapping = { plugin = \"hostile\", attack = \"shared-panic\" }\n"),
    ("to-local", "[tables.to-local.nodes.b]\nmapping = { plugin = \"hostile\", attack = \"local-panic\" }\n"),
];

fn sections() -> String {
    BROKEN.map(|(_, section)| section).concat()
}

/// Tables of one name each and `plain`, which no plugin has to do with.
async fn cluster() -> Cluster {
    let setup = |_| {
        let table = |(name, _): &(&str, &str)| {
            format!("CREATE TABLE \"{name}\" (id integer PRIMARY KEY, note text, stock integer);")
        };
        BROKEN.iter().map(table).chain([table(&("plain", ""))]).collect()
    };
    let text = format!("{LIMITS}{}[tables.plain]\n", sections());
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], setup, &text).await;
    cluster.pin(&["hostile"]);
    cluster.install().await;
    cluster
}

/// Inserts rows with a note, in conflict where the resolver is to be asked.
async fn insert(cluster: &mut Cluster, ids: std::ops::Range<i64>, note: &str) {
    for (name, _) in BROKEN.iter().chain([&("plain", "")]) {
        for id in ids.clone() {
            let insert = |stock: i64| format!("INSERT INTO \"{name}\" VALUES ({id}, '{note}', {stock})");
            match *name {
                "to-shared" => cluster.run(1, &insert(1)).await,
                "resolve" => {
                    cluster.run(0, &insert(1)).await;
                    cluster.later(1, &insert(2)).await;
                }
                _ => cluster.run(0, &insert(1)).await,
            }
        }
    }
}

async fn count(cluster: &mut Cluster, at: usize, table: &str) -> i64 {
    let rows = cluster.rows(at, &format!("SELECT count(*) FROM \"{table}\"")).await;
    rows[0].parse().expect("a number")
}

#[tokio::test]
async fn a_plugin_that_breaks_at_everything_stops_its_table() {
    let mut cluster = cluster().await;
    insert(&mut cluster, 0..12, "poison").await;
    let plan = cluster.session().plan(&Wish { table: None, limit: 0, file: false }).await.expect("a plan").0;
    let summary = cluster.sync().await;
    for stopped in [plan.stopped, summary.stopped.clone()] {
        let mut tables: Vec<&str> = stopped.iter().map(|stopped| &*stopped.table).collect();
        tables.sort_unstable();
        assert_eq!(tables, ["judge", "resolve", "to-local", "to-shared"]);
        for stopped in &stopped {
            let says = format!("of `{0}`, {0}: it failed at all 8 rows it was asked about", stopped.table);
            assert!(stopped.why.contains(&says), "{}", stopped.why);
        }
    }
    assert_eq!((summary.waiting, summary.parked, summary.conflicts), (0, 0, 0), "{summary:?}");
    assert_eq!(count(&mut cluster, 1, "plain").await, 12);
    for (table, at) in [("judge", 1), ("to-local", 1), ("to-shared", 0)] {
        assert_eq!(count(&mut cluster, at, table).await, 0, "{table}");
    }
    // Another plugin, or what it can answer, and all of it is carried.
    cluster.configure(&format!("{LIMITS}{}[tables.plain]\n", sections().replace("panic", "latest")));
    let tables = BROKEN[1..].iter().map(|(name, _)| (*name).to_owned()).collect();
    let all = concord::sync::LoadOptions {
        refilter: true,
        prefer: Some("a".to_owned()),
        tables,
        ..concord::sync::LoadOptions::default()
    };
    cluster.load(&all).await;
    let summary = cluster.sync().await;
    assert_eq!((summary.waiting, summary.stopped.len()), (0, 0), "{summary:?}");
    for (table, _) in BROKEN {
        assert_eq!((count(&mut cluster, 0, table).await, count(&mut cluster, 1, table).await), (12, 12), "{table}");
    }
}

/// GIVEN rows that stand at all nodes, and a new filter that breaks at whatever it is asked
/// WHEN a load moves rows by it, and a user changes one before a filter that answers takes its place
/// THEN nothing went to the sync as a change that nobody had made, and the user's is no conflict.
#[tokio::test]
async fn what_a_load_leaves_where_a_table_stands_still_is_no_change() {
    let section = |attack: &str| {
        let table = "[tables.judge]\nconflict = { prefer = [\"a\"] }\n[tables.judge.nodes.b]\n";
        format!("{LIMITS}{table}filter = {{ plugin = \"hostile\", attack = \"{attack}\" }}\n")
    };
    let setup = |_| "CREATE TABLE judge (id integer PRIMARY KEY, note text, stock integer)".to_owned();
    let mut cluster = Cluster::bare(&[Kind::Sqlite; 3], setup, &section("latest")).await;
    cluster.pin(&["hostile"]);
    cluster.install().await;
    for id in 0..12 {
        cluster.run(0, &format!("INSERT INTO judge VALUES ({id}, 'poison', 1)")).await;
    }
    cluster.sync().await;
    assert_eq!([count(&mut cluster, 1, "judge").await, count(&mut cluster, 2, "judge").await], [12, 12]);
    let refilter = concord::sync::LoadOptions { refilter: true, ..concord::sync::LoadOptions::default() };
    cluster.configure(&section("panic"));
    let loaded = cluster.load(&refilter).await;
    let left =
        loaded.sync.failed.as_deref().is_some_and(|why| why.contains("of it were not copied; run the load again"));
    assert!(left && loaded.stopped.len() == 1 && loaded.tables[0].together == 0, "{loaded:#?}");
    cluster.run(2, "UPDATE judge SET stock = 999 WHERE id = 1").await;
    cluster.configure(&section("latest"));
    cluster.load(&refilter).await;
    cluster.sync().await;
    cluster.holds("SELECT stock FROM judge WHERE id = 1", &["999"]).await;
    assert_eq!(cluster.session().conflicts(0).await.expect("a journal").len(), 0);
}

/// GIVEN a filter that breaks at some rows and answers for all others
/// WHEN a load copies them, or moves them
/// THEN it comes to an end and tells of those rows, at which no sync stops, and the load copies them once the filter answers.
#[tokio::test]
async fn some_rows_that_break_a_plugin_keep_no_load_from_its_end() {
    let section = |attack: &str| {
        format!(
            "{LIMITS}[tables.judge]\n[tables.judge.nodes.b]\nfilter = {{ plugin = \"hostile\", attack = \"{attack}\" }}\n"
        )
    };
    for refilter in [false, true] {
        let setup = |_| {
            let rows = (0..60).map(|id| format!("({id}, '{}', 1)", if id < 50 { "good" } else { "poison" }));
            format!(
                "CREATE TABLE judge (id integer PRIMARY KEY, note text, stock integer); INSERT INTO judge VALUES {}",
                rows.collect::<Vec<_>>().join(", ")
            )
        };
        let mut cluster =
            Cluster::bare(&[Kind::Sqlite; 2], setup, &section(if refilter { "latest" } else { "panic" })).await;
        if !refilter {
            cluster.run(1, "DELETE FROM judge").await;
        }
        cluster.pin(&["hostile"]);
        cluster.install().await;
        cluster.configure(&section("panic"));
        let options = concord::sync::LoadOptions { refilter, ..concord::sync::LoadOptions::default() };
        let loaded = cluster.load(&options).await;
        let told = loaded.sync.failed.as_deref().unwrap_or_default();
        assert!(told.contains("10 rows of it were not copied: plugin `hostile`"), "{refilter}: {loaded:#?}");
        assert_eq!(loaded.stopped, [], "{refilter}: {loaded:#?}");
        cluster.run(0, "INSERT INTO judge VALUES (100, 'good', 1)").await;
        let summary = cluster.sync().await;
        assert_eq!((summary.stopped.len(), summary.waiting), (0, 0), "{refilter}: {summary:#?}");
        assert_eq!(count(&mut cluster, 1, "judge").await, if refilter { 61 } else { 51 });
        cluster.configure(&section("latest"));
        cluster.load(&concord::sync::LoadOptions { refilter: true, ..options }).await;
        assert_eq!(count(&mut cluster, 1, "judge").await, 61, "{refilter}");
    }
}

/// Rows that wait were asked about before, so they stop nothing, however many they are; and what comes later is asked about first.
#[tokio::test]
async fn rows_that_wait_stop_nothing() {
    let mut cluster = cluster().await;
    for ids in [0..6, 6..12] {
        insert(&mut cluster, ids, "poison").await;
        let summary = cluster.sync().await;
        assert_eq!(summary.stopped.len(), 0, "{summary:?}");
    }
    insert(&mut cluster, 20..21, "good").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.stopped.len(), 0, "{summary:?}");
    for (table, _) in &BROKEN[1..] {
        let at = usize::from(*table != "to-shared");
        assert_eq!(count(&mut cluster, at, table).await, 1, "{table}");
    }
    let decided = "SELECT stock FROM resolve WHERE id = 20";
    assert_eq!(cluster.rows(0, decided).await, cluster.rows(1, decided).await);
    let waiting = cluster.session().parked().await.expect("what waits");
    for (table, _) in BROKEN {
        let mut keys: Vec<String> =
            waiting.iter().filter(|row| row.table == table).map(|row| row.key.to_string()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 12, "{table}");
    }
}
