//! Random changes of two tables, one of which refers to the other: whoever fetches the rows of a history's keys, and nothing else,
//! holds what the tables hold. Only those count that write a row. `CONCORD_OPERATIONS` makes it more of them.

use std::collections::BTreeSet;

use concord::model::Cut;
use concord_tests::{Kind, Rng, Seed, conformance};

use super::{Case, Content, content, key_text};

conformance! {
    every: [random_operations]
    standard: []
    sqlite: []
    postgres: []
    mariadb: []
}

/// How many are made before the histories are read.
const ROUND: usize = 100;

/// Few, so that changes meet.
const KEYS: u64 = 30;

const TABLES: &str = "CREATE TABLE parents (id integer PRIMARY KEY, name varchar(20) UNIQUE, amount integer NOT NULL);
    CREATE TABLE children (id integer PRIMARY KEY, parent integer, above integer, amount integer NOT NULL,
        FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE ON UPDATE CASCADE,
        FOREIGN KEY (above) REFERENCES parents (id) ON DELETE SET NULL)";

async fn random_operations(kind: Kind) {
    let told = std::env::var("CONCORD_OPERATIONS");
    let operations: usize = told.map_or(20_000, |text| text.parse().expect("CONCORD_OPERATIONS is a number"));
    let seed = Seed::new(match kind {
        Kind::Sqlite => "conformance::capture::random::sqlite::random_operations",
        Kind::Postgres => "conformance::capture::random::postgres::random_operations",
        Kind::Mariadb => "conformance::capture::random::mariadb::random_operations",
    });
    let mut rng = seed.rng(0);
    let mut case = Case::new(kind, TABLES, &["parents", "children"]).await;
    let mut held = [Content::new(), Content::new()];
    let mut from = [Cut::START, Cut::START];
    let (mut made, mut tried) = (0, 0);
    while made < operations {
        for _ in 0..ROUND {
            // What a constraint forbids changes nothing, nor does what finds no row; neither counts.
            let written = case.user.affected(&operation(kind, &mut rng)).await;
            made += usize::from(written.is_ok_and(|rows| rows > 0));
            if rng.chance(3) {
                let (one, other) = (operation(kind, &mut rng), operation(kind, &mut rng));
                let end = if rng.chance(50) { "COMMIT" } else { "ROLLBACK" };
                for statement in ["BEGIN", &one, &other, end] {
                    let _ = case.user.try_execute(statement).await;
                }
            }
        }
        tried += ROUND;
        assert!(tried < 10 * ROUND || made > tried / 4, "{made} of {tried} operations changed something");
        let opened = case.node.begin_read(&case.specs).await.unwrap_or_else(|error| panic!("begin_read: {error}"));
        assert_eq!(opened.drifted, [], "after {made} operations");
        for at in 0..2 {
            let spec = &case.specs[at];
            let page = case.node.entries(spec, &from[at], None, usize::MAX >> 1).await;
            let page = page.unwrap_or_else(|error| panic!("entries of {}: {error}", spec.name));
            let there = content(&mut case.observer, spec).await;
            for key in page.entries.iter().map(|entry| key_text(&entry.key)).collect::<BTreeSet<_>>() {
                match there.get(&key) {
                    Some(row) => held[at].insert(key, row.clone()),
                    None => held[at].remove(&key),
                };
            }
            assert_eq!(held[at], there, "{} after {made} operations", spec.name);
            from[at] = page.whole;
        }
        case.node.end_read().await.unwrap_or_else(|error| panic!("end_read: {error}"));
    }
}

fn operation(kind: Kind, rng: &mut Rng) -> String {
    let (a, b, c) = (1 + rng.below(KEYS), 1 + rng.below(KEYS), rng.below(1_000));
    match rng.below(20) {
        0 => format!("INSERT INTO parents VALUES ({a}, 'n{b}', {c})"),
        1 => format!("INSERT INTO parents VALUES ({a}, NULL, {c}), ({}, NULL, {c}), ({}, 'm{c}', 1)", a + 40, a + 80),
        2 | 3 => format!("INSERT INTO children VALUES ({c}, (SELECT min(id) FROM parents WHERE id >= {a}), NULL, {b})"),
        4 => format!("UPDATE parents SET amount = amount + {b} WHERE id = {a}"),
        5 => format!("UPDATE parents SET amount = amount + 1 WHERE id BETWEEN {a} AND {}", a + 3),
        6 => format!("UPDATE parents SET id = {b} WHERE id = {a}"),
        7 => format!("UPDATE children SET parent = (SELECT max(id) FROM parents WHERE id <= {a}) WHERE id % 30 = {b}"),
        8 => format!("UPDATE children SET above = (SELECT min(id) FROM parents) WHERE id % 30 = {b}"),
        9 => format!("DELETE FROM parents WHERE id = {a}"),
        10 => format!("DELETE FROM children WHERE id % 50 = {b}"),
        11 => format!("DELETE FROM parents WHERE id > {} AND id < {}", 40 + a, 80 + b),
        12 => format!("UPDATE children SET id = id + 1000 WHERE id = {c}"),
        13 => format!("INSERT INTO children SELECT id + 5000, id, id, {c} FROM parents WHERE id = {a}"),
        14 => whatever_fits(kind, &format!("INTO parents VALUES ({a}, 'n{b}', {c}), ({}, 'n{a}', {c})", b + 40)),
        15 => {
            let taken = if kind == Kind::Mariadb { "DUPLICATE KEY UPDATE" } else { "CONFLICT (name) DO UPDATE SET" };
            format!("INSERT INTO parents VALUES ({}, 'n{b}', {c}) ON {taken} amount = {c}", a + 40)
        }
        16 => further(kind, a, b, rng.chance(50)),
        _ => match (kind, rng.chance(50)) {
            (Kind::Mariadb, true) => {
                format!("INSERT INTO parents VALUES ({a}, 'n{b}', {c}) ON DUPLICATE KEY UPDATE amount = {c}")
            }
            (Kind::Mariadb | Kind::Sqlite, false) => format!("REPLACE INTO parents VALUES ({a}, 'n{b}', {c})"),
            _ => format!("INSERT INTO parents VALUES ({a}, 'x{a}', {c}) ON CONFLICT (id) DO UPDATE SET amount = {c}"),
        },
    }
}

/// Rows that stand in no other's way, by either key; the rest is left out.
fn whatever_fits(kind: Kind, rows: &str) -> String {
    match kind {
        Kind::Sqlite => format!("INSERT OR IGNORE {rows}"),
        Kind::Mariadb => format!("INSERT IGNORE {rows}"),
        Kind::Postgres => format!("INSERT {rows} ON CONFLICT DO NOTHING"),
    }
}

/// What one kind has and another lacks: statements that write both tables, and updates before which others give way.
fn further(kind: Kind, a: u64, b: u64, one: bool) -> String {
    match (kind, one) {
        (Kind::Sqlite, true) => format!("UPDATE OR REPLACE parents SET id = {b} WHERE id = {a}"),
        (Kind::Sqlite, false) => {
            format!("UPDATE OR REPLACE parents SET name = 'n{b}' WHERE id BETWEEN {a} AND {}", a + 2)
        }
        (Kind::Mariadb, true) => format!(
            "UPDATE parents JOIN children ON children.parent = parents.id
             SET parents.amount = parents.amount + 1, children.amount = {b} WHERE parents.id = {a}"
        ),
        (Kind::Mariadb, false) => format!(
            "DELETE parents, children FROM parents JOIN children ON children.parent = parents.id WHERE parents.id = {a}"
        ),
        (Kind::Postgres, true) => format!(
            "WITH gone AS (DELETE FROM children WHERE parent = {a} RETURNING id)
             UPDATE parents SET amount = amount + (SELECT count(*) FROM gone) WHERE id IN ({a}, {b})"
        ),
        (Kind::Postgres, false) => format!(
            "WITH raised AS (UPDATE parents SET amount = amount + 1 WHERE id = {a} RETURNING id)
             UPDATE children SET amount = {b} FROM raised WHERE children.parent = raised.id"
        ),
    }
}
