//! Sums at nodes with a mapping: the column that is added up has another name there, and what each change did is counted once.

use std::os::unix::process::ExitStatusExt;

use concord::sync::LoadOptions;
use concord_tests::{As, Cluster, Concord, Database, Kind, NAMES, POINTS, Seed, User, guests};

const SUM: &str = "{ sum = [\"stock\"] }";
const FIELDS: &str = "{ plugin = \"merge-fields\", fields = { stock = \"sum\" } }";

/// The first node's table, and that of every other.
const ITEMS: &str = "CREATE TABLE items (id bigint PRIMARY KEY, name text, stock bigint)";
const WARE: &str = "CREATE TABLE ware (memo text, bestand bigint, nr bigint PRIMARY KEY, nachname text, vorname text)";

fn tables(nodes: usize, conflict: &str) -> String {
    let mut text = format!("[tables.items]\nconflict = {conflict}\n");
    for name in &NAMES[1..nodes] {
        text += &format!(
            "[tables.items.nodes.{name}]\ntable = \"ware\"\ncolumns = {{ id = \"nr\", stock = \"bestand\" }}\n\
             mapping = {{ plugin = \"full-name\", name = \"name\", first = \"vorname\", last = \"nachname\", own = [\"memo\"] }}\n"
        );
    }
    text
}

async fn shop(kinds: &[Kind], conflict: &str) -> Cluster {
    let mut cluster = Cluster::bare(kinds, |_| String::new(), &tables(kinds.len(), conflict)).await;
    for at in 0..kinds.len() {
        cluster.nodes[at].database.user_as(As::Sync).await.execute(if at == 0 { ITEMS } else { WARE }).await;
    }
    cluster.pin(&["full-name", "merge-fields"]);
    cluster.install().await;
    cluster
}

/// What stands at every node, by `id|name|stock`.
async fn holds(cluster: &mut Cluster, rows: &[&str]) {
    for (at, name) in NAMES.iter().enumerate().take(cluster.nodes.len()) {
        let said = match at {
            0 => cluster.rows(0, "SELECT id, name, stock FROM items ORDER BY id").await,
            _ => {
                let rows = cluster.rows(at, "SELECT nr, vorname, nachname, bestand FROM ware ORDER BY nr").await;
                rows.iter().map(|row| row.replacen("|", "#", 1).replacen("|", " ", 1).replacen("#", "|", 1)).collect()
            }
        };
        assert_eq!(said, rows, "at {name}");
    }
}

async fn both_add(kinds: &[Kind], conflict: &str) {
    let mut cluster = shop(kinds, conflict).await;
    cluster.run(0, "INSERT INTO items VALUES (1, 'Ada Lovelace', 10)").await;
    cluster.run(1, "INSERT INTO ware VALUES ('our own', 20, 2, 'Loon', 'Bob')").await;
    assert_eq!(cluster.sync().await.conflicts, 0);
    holds(&mut cluster, &["1|Ada Lovelace|10", "2|Bob Loon|20"]).await;
    // WHEN both add and take away, and one changes the name as well
    cluster.later(0, "UPDATE items SET stock = stock + 5").await;
    cluster.later(0, "UPDATE items SET stock = stock - 1 WHERE id = 1").await;
    cluster.later(1, "UPDATE ware SET bestand = bestand - 2").await;
    cluster.later(1, "UPDATE ware SET vorname = 'Eva', bestand = bestand - 1 WHERE nr = 1").await;
    cluster.sync().await;
    // THEN every change counts, and what the node alone knows is there
    holds(&mut cluster, &["1|Eva Lovelace|11", "2|Bob Loon|23"]).await;
    cluster.holds_at(1, "SELECT memo FROM ware ORDER BY nr", &["NULL", "our own"]).await;
    cluster.quiet().await;
    // Of a change of what the node alone knows nothing is added.
    cluster.later(1, "UPDATE ware SET memo = 'other'").await;
    cluster.later(0, "UPDATE items SET stock = stock + 1").await;
    cluster.sync().await;
    holds(&mut cluster, &["1|Eva Lovelace|12", "2|Bob Loon|24"]).await;
    // Both begin with nothing.
    cluster.later(0, "INSERT INTO items VALUES (3, 'Cy Dee', 3)").await;
    cluster.later(1, "INSERT INTO ware VALUES (NULL, 4, 3, 'Dee', 'Cy')").await;
    cluster.later(1, "DELETE FROM ware WHERE nr = 2").await;
    cluster.sync().await;
    holds(&mut cluster, &["1|Eva Lovelace|12", "3|Cy Dee|7"]).await;
    cluster.quiet().await;
}

#[tokio::test]
async fn what_both_nodes_add_is_summed() {
    for kinds in [[Kind::Postgres, Kind::Mariadb], [Kind::Mariadb, Kind::Postgres], [Kind::Mariadb, Kind::Sqlite]] {
        for conflict in [SUM, FIELDS] {
            Box::pin(both_add(&kinds, conflict)).await;
        }
    }
}

#[tokio::test]
async fn what_both_nodes_add_is_summed_in_files() {
    for conflict in [SUM, FIELDS] {
        Box::pin(both_add(&[Kind::Sqlite, Kind::Sqlite], conflict)).await;
    }
}

/// Whoever was away hears of the others' changes from a node that records its own in another column.
#[tokio::test]
async fn three_nodes_add_with_absences() {
    for kinds in [[Kind::Postgres, Kind::Mariadb, Kind::Sqlite], [Kind::Mariadb, Kind::Sqlite, Kind::Postgres]] {
        let mut cluster = shop(&kinds, SUM).await;
        cluster.run(0, "INSERT INTO items VALUES (1, 'Ada Lovelace', 10)").await;
        cluster.sync().await;
        for away in 0..3 {
            cluster.leave(away);
            for _ in 0..2 {
                cluster.run(0, "UPDATE items SET stock = stock + 1").await;
                cluster.run(1, "UPDATE ware SET bestand = bestand + 10").await;
                cluster.run(2, "UPDATE ware SET bestand = bestand + 100").await;
                cluster.sync().await;
            }
            cluster.back(away);
        }
        cluster.sync().await;
        holds(&mut cluster, &["1|Ada Lovelace|676"]).await;
        assert_eq!(cluster.waiting().await, [""; 0]);
        cluster.quiet().await;
    }
}

const KEYS: i64 = 4;

#[tokio::test]
async fn killed_at_every_point_every_change_counts_once() {
    let seed = Seed::new("plugins::mapped_sums::killed_at_every_point_every_change_counts_once");
    let mut rng = seed.rng(0);
    let kinds = [Kind::Postgres, Kind::Mariadb, Kind::Sqlite];
    let mut text = format!("name = \"shop\"\nplugins = \"{}\"\n[defaults]\nbatch = 3\n", guests::plugins().display());
    let (mut databases, mut users): (Vec<Database>, Vec<User>) = Default::default();
    for (at, kind) in kinds.into_iter().enumerate() {
        let database = Database::new(kind).await;
        database.user_as(As::Sync).await.execute(if at == 0 { ITEMS } else { WARE }).await;
        text += &format!("[nodes.{}]\nurl = \"{}\"\n", NAMES[at], database.url());
        users.push(database.user().await);
        databases.push(database);
    }
    let mut concord = Concord::new(&(text + &tables(kinds.len(), SUM)));
    concord.write("concord.lock", &guests::lock(&["full-name"]));
    concord.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
    concord.run(&["install"]).await.ok();
    let mut sums = [0; KEYS as usize];
    for key in 1..=KEYS {
        users[0].execute(&format!("INSERT INTO items VALUES ({key}, 'Ada Lovelace', 0)")).await;
    }
    concord.run(&["sync"]).await.ok();
    let mut dead = 0;
    for point in POINTS {
        for (at, user) in users.iter_mut().enumerate() {
            for _ in 0..KEYS {
                let (key, by) = (1 + rng.below(KEYS as u64) as i64, rng.below(19) as i64 - 9);
                sums[(key - 1) as usize] += by;
                user.execute(&match at {
                    0 => format!("UPDATE items SET stock = stock + {by} WHERE id = {key}"),
                    _ => format!("UPDATE ware SET bestand = bestand + {by} WHERE nr = {key}"),
                })
                .await;
            }
        }
        let output = concord.faults(&format!("{point}=abort@{}", 1 + rng.below(3))).run(&["sync"]).await;
        dead += u32::from(output.status.signal() == Some(libc::SIGABRT));
        // Every second time whoever is killed is not even mended before users go on.
        if rng.chance(50) {
            continue;
        }
        concord.faults("").run(&["sync"]).await.ok();
        let expected: Vec<String> = sums.iter().map(i64::to_string).collect();
        for (at, user) in users.iter_mut().enumerate() {
            let sql =
                if at == 0 { "SELECT stock FROM items ORDER BY id" } else { "SELECT bestand FROM ware ORDER BY nr" };
            let rows: Vec<String> = user.rows(sql).await.into_iter().filter_map(|mut row| row.remove(0)).collect();
            assert_eq!(rows, expected, "killed at `{point}`: what {} holds", NAMES[at]);
        }
        let echo = concord.run(&["sync", "--json"]).await.ok().json();
        assert_eq!(echo["nodes"], serde_json::json!([]), "killed at `{point}`: rows were carried at rest");
    }
    assert!(dead as usize > POINTS.len() / 2, "{dead} engines were killed");
}

/// A history tells nothing of a column that it has not recorded.
#[tokio::test]
async fn a_copy_of_another_column_is_recorded_once_all_has_arrived() {
    for kinds in [[Kind::Postgres, Kind::Sqlite], [Kind::Sqlite, Kind::Mariadb], [Kind::Sqlite, Kind::Postgres]] {
        let former = tables(2, SUM).replace("[\"memo\"]", "[\"memo\", \"lager\"]");
        let mut cluster = Cluster::bare(&kinds, |_| String::new(), &former).await;
        for (at, sql) in [ITEMS.to_owned(), WARE.replace("memo text,", "memo text, lager bigint,")].iter().enumerate() {
            cluster.nodes[at].database.user_as(As::Sync).await.execute(sql).await;
        }
        cluster.pin(&["full-name"]);
        cluster.install().await;
        cluster.run(0, "INSERT INTO items VALUES (1, 'Ada Lovelace', 10)").await;
        cluster.sync().await;
        cluster.run(1, "UPDATE ware SET bestand = bestand + 1, lager = 100").await;
        let other = tables(2, SUM).replace("[\"memo\"]", "[\"memo\", \"bestand\"]");
        let other = other.replace("stock = \"bestand\"", "stock = \"lager\"");
        cluster.configure(&other);
        let told = cluster.try_install().await.expect_err("a change has not arrived");
        assert!(told.contains("`items` has to be recorded in another way now, and 1 change"), "{told}");
        assert!(told.contains("`concord reset`, which gives up what is not carried of every table"), "{told}");
        cluster.configure(&former);
        cluster.sync().await;
        cluster.holds_at(0, "SELECT stock FROM items", &["11"]).await;
        cluster.configure(&other);
        cluster.install().await;
        let options = LoadOptions { refilter: true, prefer: Some("b".to_owned()), ..LoadOptions::default() };
        cluster.load(&options).await;
        cluster.later(0, "UPDATE items SET stock = stock + 5").await;
        cluster.later(1, "UPDATE ware SET lager = lager - 1").await;
        cluster.sync().await;
        cluster.holds_at(0, "SELECT stock FROM items", &["104"]).await;
        cluster.holds_at(1, "SELECT bestand, lager FROM ware", &["11|104"]).await;
    }
}

#[tokio::test]
async fn what_is_no_copy_cannot_be_added_up() {
    let kinds = [Kind::Postgres, Kind::Sqlite];
    let mut cluster = shop(&kinds, SUM).await;
    cluster.configure(&tables(2, SUM).replace("own =", "cents = [\"bestand\"], own ="));
    let mut owner = cluster.nodes[0].database.user_as(As::Sync).await;
    owner.execute("ALTER TABLE items ALTER COLUMN stock TYPE numeric").await;
    let told = cluster.try_install().await.expect_err("cents are shared as units");
    assert!(told.contains("its mapping does not say that `stock` is a copy of a column of the node"), "{told}");
    assert!(told.contains("let another policy decide"), "{told}");
}
