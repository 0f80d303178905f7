//! Random runs over real databases whose rows refer to each other in every way, and pass unique values among each other: whatever users
//! do at once at several nodes, the sync ends, every reference holds, and what does not wait is the same everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use concord::fault::{self, Faults};
use concord_tests::{Cluster, Kind, NAMES, Rng, Seed, breaking_points};

/// How long the test draws new runs.
const BUDGET: Duration = Duration::from_secs(20);

#[tokio::test]
async fn rows_that_refer_to_each_other() {
    let start = Instant::now();
    let seed = Seed::new("relations::rows_that_refer_to_each_other");
    let mut run = seed.value();
    let mut runs = 0;
    while start.elapsed() < BUDGET {
        if let Err(what) = Box::pin(one(run)).await {
            panic!("replay with CONCORD_SEED={run}: {what}");
        }
        runs += 1;
        if std::env::var_os("CONCORD_SEED").is_some() && std::env::var_os("CONCORD_ON").is_none() {
            return;
        }
        run += 1;
    }
    println!("{runs} runs");
}

/// What is drawn once for a run.
struct Shape {
    gone: &'static str,
    moved: &'static str,
    lines_gone: &'static str,
    required: bool,
    summed: bool,
}

fn setup(shape: &Shape) -> String {
    let Shape { gone, moved, lines_gone, .. } = shape;
    let required = if shape.required { " NOT NULL" } else { "" };
    format!(
        "CREATE TABLE parents (id integer PRIMARY KEY, code integer NOT NULL UNIQUE, boss integer, mail integer UNIQUE,
             FOREIGN KEY (boss) REFERENCES parents (id) ON DELETE SET NULL);
         CREATE TABLE children (id integer PRIMARY KEY, parent integer{required}, slot integer UNIQUE, n integer NOT NULL,
             FOREIGN KEY (parent) REFERENCES parents (id){gone}{moved});
         CREATE TABLE items (code integer NOT NULL, line integer NOT NULL, child integer, n integer NOT NULL, PRIMARY KEY (code, line),
             FOREIGN KEY (code) REFERENCES parents (code) ON UPDATE CASCADE{lines_gone},
             FOREIGN KEY (child) REFERENCES children (id) ON DELETE CASCADE)"
    )
}

/// What a user does.
fn statement(rng: &mut Rng, counter: &mut i64) -> String {
    *counter += 1;
    let few = |rng: &mut Rng| rng.below(4) + 1;
    let (a, b, c) = (few(rng), few(rng), few(rng));
    let or_null = |rng: &mut Rng, value: u64| if rng.chance(30) { "NULL".to_owned() } else { value.to_string() };
    let n = *counter;
    match rng.below(16) {
        0..=2 => {
            format!("INSERT INTO parents VALUES ({a}, {}, {}, {})", b * 10, or_null(rng, c), or_null(rng, a * 100))
        }
        3 => format!("DELETE FROM parents WHERE id = {a}"),
        4 => format!("UPDATE parents SET code = {} WHERE id = {a}", b * 10),
        5 => format!("UPDATE parents SET id = {b} WHERE id = {a}"),
        6 => format!("UPDATE parents SET boss = {}, mail = {} WHERE id = {a}", or_null(rng, b), or_null(rng, c * 100)),
        7 | 8 => format!("INSERT INTO children VALUES ({a}, {}, {}, {n})", or_null(rng, b), or_null(rng, c)),
        9 => format!("DELETE FROM children WHERE id = {a}"),
        10 => format!("UPDATE children SET slot = {}, n = {n} WHERE id = {a}", or_null(rng, b)),
        11 => format!("UPDATE children SET parent = {}, n = {n} WHERE id = {a}", or_null(rng, b)),
        12 | 13 => format!("INSERT INTO items VALUES ({}, {b}, {}, {n})", a * 10, or_null(rng, c)),
        14 => format!("DELETE FROM items WHERE code = {} AND line = {b}", a * 10),
        _ => format!("UPDATE items SET child = {}, n = {n} WHERE line = {b}", or_null(rng, c)),
    }
}

async fn one(seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let gone = *rng.pick(&["", " ON DELETE CASCADE", " ON DELETE SET NULL"]);
    let moved = *rng.pick(&["", " ON UPDATE CASCADE"]);
    let lines_gone = *rng.pick(&["", " ON DELETE CASCADE"]);
    let shape =
        Shape { gone, moved, lines_gone, required: !gone.ends_with("NULL") && rng.chance(30), summed: rng.chance(30) };
    let count = 2 + usize::from(rng.chance(40));
    let kinds: Vec<Kind> = match std::env::var("CONCORD_KINDS").as_deref() {
        Ok("sqlite") => vec![Kind::Sqlite; count],
        _ => (0..count).map(|_| if rng.chance(60) { Kind::Sqlite } else { *rng.pick(&Kind::ALL) }).collect(),
    };
    let sum = if shape.summed { "conflict = { sum = [\"n\"] }\n" } else { "" };
    let tables = format!("[tables.items]\n{sum}[tables.children]\n{sum}[tables.parents]\n");
    let mut cluster = Cluster::new(&kinds, |_| setup(&shape), &tables).await;
    let trace = std::env::var_os("CONCORD_TRACE").is_some();
    if trace {
        eprintln!("{kinds:?} {} summed {}", setup(&shape), shape.summed);
    }
    let mut counter = 0;
    let mut session = cluster.session();
    let points: Vec<&str> = breaking_points().collect();
    for _ in 0..8 + rng.below(30) {
        let at = rng.below(count as u64) as usize;
        match rng.below(10) {
            0..=6 => {
                let many = if rng.chance(25) { 2 + rng.below(3) } else { 1 };
                for _ in 0..many {
                    let sql = statement(&mut rng, &mut counter);
                    let done = cluster.nodes[at].user.try_execute(&sql).await;
                    if trace {
                        eprintln!("{}: {sql} {}", NAMES[at], done.map_or_else(|why| why, |()| "ok".to_owned()));
                    }
                }
            }
            7 => {
                let away = rng.below(count as u64) as usize;
                if count > 2 {
                    cluster.leave(away);
                }
                let done = cluster.session().cycle().await;
                cluster.back(away);
                done.map_err(|error| format!("a cycle with {} away: {error}", NAMES[away]))?;
                if trace {
                    eprintln!("cycle without {}", NAMES[away]);
                }
            }
            8 => {
                session = cluster.session();
            }
            _ if rng.chance(40) => {
                let (point, pass) = (*rng.pick(&points), 1 + rng.below(4));
                let faults: Faults = format!("{point}=error@{pass}").parse().expect("the rule is one");
                // It says so, or leaves the node out; either is fine here.
                let done = fault::scoped(Arc::new(Mutex::new(faults)), session.cycle()).await;
                if trace {
                    eprintln!(
                        "cycle with a fault at {point}: {:?}",
                        done.map(|_| ()).map_err(|error| error.to_string())
                    );
                }
            }
            _ => {
                session.cycle().await.map_err(|error| format!("a cycle: {error}"))?;
                if trace {
                    eprintln!("cycle");
                }
            }
        }
    }
    finish(&mut cluster, trace).await.map_err(|what| format!("{kinds:?} {}: {what}", setup(&shape)))?;
    clear(&mut cluster).await.map_err(|what| format!("{kinds:?} {}: cleared: {what}", setup(&shape)))
}

/// Whatever stood in anybody's way goes: nothing waits any more.
async fn clear(cluster: &mut Cluster) -> Result<(), String> {
    let mut left = String::new();
    for _ in 0..4 {
        for node in &mut cluster.nodes {
            for sql in
                ["DELETE FROM items", "DELETE FROM children", "UPDATE parents SET boss = NULL", "DELETE FROM parents"]
            {
                node.user.try_execute(sql).await?;
            }
        }
        for _ in 0..3 {
            Box::pin(cluster.session().sync()).await.map_err(|error| format!("sync: {error}"))?;
        }
        let parked = cluster.session().parked().await.map_err(|error| error.to_string())?;
        let mut rows = Vec::new();
        for at in 0..cluster.nodes.len() {
            for table in ["items", "children", "parents"] {
                rows.extend(cluster.rows(at, &format!("SELECT '{table}', x.* FROM {table} x")).await);
            }
        }
        if parked.is_empty() && rows.is_empty() {
            return Ok(());
        }
        left = format!("{rows:?} {parked:#?}");
    }
    Err(left)
}

async fn finish(cluster: &mut Cluster, trace: bool) -> Result<(), String> {
    let mut carried = None;
    for _ in 0..12 {
        let summary = Box::pin(cluster.session().sync()).await.map_err(|error| format!("sync: {error}"))?;
        if trace {
            eprintln!("sync {summary:?}");
        }
        if let Some(why) = summary.failed {
            return Err(format!("a sync failed: {why}"));
        }
        if !summary.away.is_empty() || !summary.stopped.is_empty() {
            return Err(format!("{:?} {:?}", summary.away, summary.stopped));
        }
        let is_done = summary.nodes.is_empty() && summary.parked == 0;
        carried = Some(summary.nodes);
        if is_done {
            break;
        }
    }
    if carried.is_some_and(|nodes| !nodes.is_empty()) {
        return Err("it never comes to rest".to_owned());
    }
    let parked = cluster.session().parked().await.map_err(|error| error.to_string())?;
    let mut waits: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in &parked {
        waits.entry(row.table.clone()).or_default().insert(row.key.to_string());
    }
    if trace {
        eprintln!("{parked:#?}");
    }
    for (table, key) in [
        ("parents", "'[' || id || ']'"),
        ("children", "'[' || id || ']'"),
        ("items", "'[' || code || ',' || line || ']'"),
    ] {
        let mut all = Vec::new();
        for at in 0..cluster.nodes.len() {
            let columns = match table {
                "parents" => "id, code, boss, mail",
                "children" => "id, parent, slot, n",
                _ => "code, line, child, n",
            };
            let rows = cluster.rows(at, &format!("SELECT {key}, {columns} FROM {table} ORDER BY 2, 3")).await;
            let is_at_rest = |row: &String| {
                let key = row.split('|').next().unwrap_or_default();
                !waits.get(table).is_some_and(|keys| keys.contains(key))
            };
            all.push(rows.into_iter().filter(is_at_rest).collect::<Vec<_>>());
        }
        if all.windows(2).any(|two| two[0] != two[1]) {
            return Err(format!("`{table}` differs: {all:#?}\nwaiting: {parked:#?}"));
        }
    }
    for (at, name) in NAMES.iter().enumerate().take(cluster.nodes.len()) {
        if cluster.nodes[at].database.kind() == Kind::Sqlite {
            let dangling = cluster.rows(at, "SELECT * FROM pragma_foreign_key_check").await;
            if !dangling.is_empty() {
                return Err(format!("at {name}: {dangling:?}"));
            }
        }
    }
    Ok(())
}
