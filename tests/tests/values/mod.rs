//! Values on their way between every two kinds of database: written at one, read at the other by the database's own SQL,
//! changed there, and carried back. What is to be read, and what waits or is refused, stands in `cases.txt`.

mod cases;
mod drawn;
mod large;
mod random;

use std::collections::BTreeMap;

use cases::{Case, Class, KINDS};
use concord_tests::{Cluster, Kind, NAMES};

/// Types that tables of PostgreSQL use, to be made before them.
const TYPES: &str = "CREATE TYPE mood AS ENUM ('sad', 'very happy'); CREATE TYPE pair AS (n integer, t text); ";

/// What waits at a database of the same kind and is not told before: any column of SQLite may hold it, and to SQLite it is no text.
const UNTOLD: &str = "text that is not UTF-8";

/// A value that travels: the class by its place, which is also the column's number, and the row's key.
struct Row<'a> {
    key: usize,
    column: usize,
    class: &'a Class,
    case: &'a Case,
}

impl Row<'_> {
    /// How it is called in a message.
    fn told(&self) -> String {
        let literal = KINDS.iter().find_map(|kind| self.case.at(*kind).literal()).unwrap_or_default();
        format!("{}, {}", self.class.name, literal.chars().take(60).collect::<String>())
    }
}

/// One table with a column for each class that both kinds have. Each row holds one value, so that only that waits.
async fn travel(kinds: &[Kind; 2]) {
    let [from, to] = *kinds;
    let classes = cases::known().await;
    let both = |class: &&Class| {
        class.declared(from).is_some() && class.declared(to).is_some() && class.refused(from, to).is_none()
    };
    let classes: Vec<&Class> = classes.iter().filter(both).collect();
    let setup = |kind: Kind| {
        let types = classes.iter().enumerate();
        let columns = types.map(|(at, class)| format!(", c{at} {}", class.declared(kind).unwrap_or_default()));
        let before = if kind == Kind::Postgres { TYPES } else { "" };
        let columns = columns.collect::<String>();
        format!("{before}CREATE TABLE t (id integer PRIMARY KEY, n integer NOT NULL{columns})")
    };
    let mut cluster = Cluster::new(kinds, setup, "[tables.t]").await;
    for at in (0..kinds.len()).filter(|at| kinds[*at] == Kind::Mariadb) {
        cluster.run(at, "SET SESSION sql_mode = CONCAT(@@sql_mode, ',ALLOW_INVALID_DATES')").await;
    }
    let mut wrong = Vec::new();

    told_before(&cluster, *kinds, &classes, &mut wrong).await;

    // GIVEN every value that can be written here
    let mut rows = Vec::new();
    for (column, class) in classes.iter().enumerate() {
        for case in &class.values {
            let row = Row { key: rows.len() + 1, column, class, case };
            if let Some(literal) = case.at(from).literal() {
                let sql = format!("INSERT INTO t (id, n, c{column}) VALUES ({}, 0, {literal})", row.key);
                match cluster.nodes[0].user.try_execute(&sql).await {
                    Ok(()) => rows.push(row),
                    Err(error) => wrong.push(format!("{}: cannot be written: {error}", row.told())),
                }
            }
        }
    }
    compare(&mut cluster, 0, &rows, |row| row.case.at(from).read(), &mut wrong).await;

    // WHEN it travels, THEN it is there, or waits there for its reason
    cluster.sync().await;
    let waits = waiting(&cluster).await;
    let mut arrived = Vec::new();
    for row in rows {
        let told = row.told();
        match (waits.get(&row.key), row.case.waits(to)) {
            (None, Some(_)) => wrong.push(format!("{told}: does not wait")),
            (Some(found), Some(why)) if !found.contains(why) => {
                wrong.push(format!("{told}: waits for another reason: {found}"));
            }
            (Some(_), Some(_)) => {}
            (Some(found), None) if row.case.at(to).read().is_some() => wrong.push(format!("{told}: waits: {found}")),
            (None, None) if row.case.at(to).read().is_some() => arrived.push(row),
            _ => {}
        }
    }
    compare(&mut cluster, 1, &arrived, |row| row.case.at(to).read(), &mut wrong).await;

    // WHEN the row is changed there, THEN the value comes back bit by bit
    let keys: Vec<String> = arrived.iter().map(|row| row.key.to_string()).collect();
    cluster.run(1, &format!("UPDATE t SET n = n + 1 WHERE id IN ({})", keys.join(", "))).await;
    let summary = cluster.sync().await;
    assert!(summary.away.is_empty() && summary.stopped.is_empty() && summary.failed.is_none(), "{summary:?}");
    compare(&mut cluster, 0, &arrived, |row| row.case.at(from).read(), &mut wrong).await;
    let back = format!("SELECT count(*) FROM t WHERE n = 1 AND id IN ({})", keys.join(", "));
    cluster.holds_at(0, &back, &[&keys.len().to_string()]).await;

    // WHEN the value itself is changed there, THEN the other one arrives here
    let mut changed = Vec::new();
    for row in arrived {
        let others =
            row.class.values.iter().filter(|case| case.at(to).literal().is_some() && case.at(from).read().is_some());
        let others: Vec<&Case> = others.collect();
        let at = others.iter().position(|case| std::ptr::eq(*case, row.case)).map_or(0, |at| at + 1);
        let Some(case) = others.get(at % others.len().max(1)) else { continue };
        let literal = case.at(to).literal().unwrap_or_default();
        cluster.run(1, &format!("UPDATE t SET n = 2, c{} = {literal} WHERE id = {}", row.column, row.key)).await;
        changed.push(Row { case, ..row });
    }
    cluster.sync().await;
    compare(&mut cluster, 0, &changed, |row| row.case.at(from).read(), &mut wrong).await;
    let waits_now = waiting(&cluster).await;
    for row in changed.iter().filter(|row| waits_now.contains_key(&row.key)) {
        wrong.push(format!("{}: waits on its way back: {}", row.told(), waits_now[&row.key]));
    }
    assert!(wrong.is_empty(), "{from:?} to {to:?}:\n{}", wrong.join("\n"));
    cluster.quiet().await;
}

/// `check` tells of each column of which a value waits at the second node, before anything is carried.
async fn told_before(cluster: &Cluster, [from, to]: [Kind; 2], classes: &[&Class], wrong: &mut Vec<String>) {
    let fits = Box::pin(cluster.session().check()).await.expect("all are there").tables.remove(0).fits;
    for (column, class) in classes.iter().enumerate() {
        let name = format!("c{column}");
        let fit = fits.iter().find(|fit| fit.column == name && fit.from == "a" && fit.to == "b");
        let waits = |case: &&Case| case.at(from).literal().is_some() && case.waits(to).is_some();
        match (fit, class.values.iter().find(waits)) {
            // Computed at both nodes, it is not carried.
            (None, _) if from == to && class.declared(from).is_some_and(|ty| ty.contains("GENERATED")) => {}
            (None, _) => wrong.push(format!("{}: `check` tells nothing of it", class.name)),
            (Some(_), Some(_)) if from == to && class.name == UNTOLD => {}
            (Some(fit), Some(case)) if fit.fit == "exact" => {
                wrong.push(format!("{}: `check` tells that all of it arrives, and it waits: {case:?}", class.name));
            }
            _ => {}
        }
    }
}

/// Compares what is read at a node, a query for each class.
async fn compare<'a>(
    cluster: &mut Cluster,
    at: usize,
    rows: &'a [Row<'a>],
    expected: impl Fn(&'a Row<'a>) -> Option<&'a str>,
    wrong: &mut Vec<String>,
) {
    let kind = cluster.nodes[at].database.kind();
    for one in rows.chunk_by(|a, b| a.column == b.column) {
        let keys: Vec<String> = one.iter().map(|row| row.key.to_string()).collect();
        let (shown, column) = (one[0].class.shown(kind), one[0].column);
        let sql = format!(
            "SELECT {shown} FROM (SELECT id, c{column} AS v FROM t WHERE id IN ({})) AS s ORDER BY id",
            keys.join(", ")
        );
        let found = cluster.rows(at, &sql).await;
        for (place, row) in one.iter().enumerate() {
            let (found, expected) = (found.get(place).map(String::as_str), expected(row));
            if found.is_none() || found != expected {
                wrong.push(format!("{}: {found:?} at {} instead of {expected:?}", row.told(), NAMES[at]));
            }
        }
    }
}

/// The reasons of the rows that wait, by key.
async fn waiting(cluster: &Cluster) -> BTreeMap<usize, String> {
    let parked = cluster.session().parked().await.expect("what waits can be read");
    let key = |text: &str| text.trim_matches(['[', ']']).parse().expect("the key is a number");
    parked.into_iter().map(|row| (key(&row.key.to_string()), row.message)).collect()
}

/// Columns between which nothing can be carried are told before anything is touched, each with its reason.
async fn refuse(kinds: &[Kind; 2]) {
    let [from, to] = *kinds;
    let classes = cases::known().await;
    let declared = |class: &&Class| kinds.iter().all(|kind| class.declared(*kind).is_some());
    let refused: Vec<(&Class, &str)> =
        classes.iter().filter(declared).filter_map(|class| Some((class, class.refused(from, to)?))).collect();
    let setup = |kind: Kind| {
        let types = refused.iter().enumerate();
        let columns = types.map(|(at, (class, _))| format!(", c{at} {}", class.declared(kind).unwrap_or_default()));
        let before = if kind == Kind::Postgres { TYPES } else { "" };
        format!("{before}CREATE TABLE t (id integer PRIMARY KEY{})", columns.collect::<String>())
    };
    let cluster = Cluster::bare(kinds, setup, "[tables.t]").await;
    let told = cluster.try_install().await.expect_err("nothing of this can be carried");
    for (at, (class, why)) in refused.iter().enumerate() {
        let line = told.split("`c").find(|part| part.starts_with(&format!("{at}` of `t`")));
        let all = told.lines().any(|line| line.contains(&format!("`c{at}` of `t`")) && line.contains(why));
        assert!(all, "{}: {:?} instead of {why:?} in\n{told}", class.name, line);
    }
}

/// Columns of labels look alike, and hold others.
#[tokio::test]
async fn labels_that_the_other_has_not_are_told() {
    let mood =
        |labels: &str| format!("CREATE TYPE mood AS ENUM ({labels}); CREATE TABLE t (id integer PRIMARY KEY, v mood)");
    let of = |ty: &str| format!("CREATE TABLE t (id integer PRIMARY KEY, v {ty})");
    for (kind, a, b, is_told) in [
        (Kind::Postgres, mood("'a', 'b'"), mood("'a', 'c'"), true),
        (Kind::Postgres, mood("'a', 'b'"), mood("'b', 'a'"), false),
        (Kind::Mariadb, of("enum('a', 'b')"), of("enum('a', 'c')"), true),
        (Kind::Mariadb, of("set('a', 'b')"), of("set('b', 'a')"), true),
    ] {
        let cluster = Cluster::bare(&[kind, kind], |_| String::new(), "[tables.t]").await;
        cluster.create(&[a.as_str(), b.as_str()]).await;
        let fits = cluster.session().check().await.expect("all are there").tables.remove(0).fits;
        let told = fits.iter().any(|fit| {
            let tells = |why: &str| why.contains("labels other than");
            fit.column == "v" && fit.to == "b" && fit.fit == "waits" && fit.why.as_deref().is_some_and(tells)
        });
        assert_eq!(told, is_told, "{a} and {b}: {fits:?}");
    }
}

/// Of the files of SQLite the one keeps decimals as texts, and the other those of which floats are left.
#[tokio::test]
async fn decimals_that_only_texts_of_sqlite_keep_are_told() {
    let cluster = Cluster::bare(&[Kind::Sqlite, Kind::Postgres, Kind::Sqlite], |_| String::new(), "[tables.t]").await;
    let tables =
        ["text", "numeric(30,10)", "numeric"].map(|ty| format!("CREATE TABLE t (id integer PRIMARY KEY, v {ty})"));
    cluster.create(&tables.each_ref().map(String::as_str)).await;
    let fits = cluster.session().check().await.expect("all are there").tables.remove(0).fits;
    let between = |from: &str, to: &str| {
        let fit = fits.iter().find(|fit| fit.column == "v" && fit.from == from && fit.to == to);
        fit.map(|fit| (fit.fit, fit.why.as_deref().is_some_and(|why| why.contains("more than 15 digits"))))
    };
    assert_eq!(between("a", "c"), Some(("waits", true)), "{fits:?}");
    assert_eq!(between("c", "a"), Some(("waits", false)), "{fits:?}");
}

/// Of amounts that files of SQLite keep as floats the exact sum is seldom one, and would wait at the very nodes that wrote them.
#[tokio::test]
async fn sums_of_what_sqlite_keeps_as_floats_wait_nowhere() {
    let setup = |kind: Kind| {
        let ty = if kind == Kind::Sqlite { "decimal(12,2)" } else { "numeric" };
        format!("CREATE TABLE t (id integer PRIMARY KEY, v {ty}); INSERT INTO t VALUES (1, 0.1), (2, 0.3)")
    };
    let kinds = [Kind::Sqlite, Kind::Postgres, Kind::Sqlite];
    let mut cluster = Cluster::new(&kinds, setup, "[tables.t]\nconflict = { sum = [\"v\"] }\n").await;
    // What is left is -2.7755575615628914e-17.
    cluster.run(0, "UPDATE t SET v = v - 0.1 - 0.2 WHERE id = 2").await;
    cluster.sync().await;
    cluster.run(0, "UPDATE t SET v = v + 0.2 WHERE id = 1; UPDATE t SET v = v + 1234567.5 WHERE id = 2").await;
    cluster.run(2, "UPDATE t SET v = v + 0.1 WHERE id = 1; UPDATE t SET v = v + 1 WHERE id = 2").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.waiting, 0, "{:?}", cluster.reasons("a").await);
    let sums = "SELECT count(*) FROM t WHERE (id = 1 AND v = 0.4) OR (id = 2 AND v = 1234568.5)";
    cluster.holds(sums, &["2"]).await;
    cluster.quiet().await;
}

macro_rules! pairs {
    ($($name:ident: [$from:ident, $to:ident]),* $(,)?) => {
        $(#[tokio::test] async fn $name() { Box::pin(travel(&[Kind::$from, Kind::$to])).await })*
    };
}

pairs! {
    postgres_to_postgres: [Postgres, Postgres],
    postgres_to_mariadb: [Postgres, Mariadb],
    postgres_to_sqlite: [Postgres, Sqlite],
    mariadb_to_postgres: [Mariadb, Postgres],
    mariadb_to_mariadb: [Mariadb, Mariadb],
    mariadb_to_sqlite: [Mariadb, Sqlite],
    sqlite_to_postgres: [Sqlite, Postgres],
    sqlite_to_mariadb: [Sqlite, Mariadb],
    sqlite_to_sqlite: [Sqlite, Sqlite],
}

#[tokio::test]
async fn what_is_refused_between_two_alike() {
    refuse(&[Kind::Postgres, Kind::Postgres]).await;
    refuse(&[Kind::Mariadb, Kind::Mariadb]).await;
}

#[tokio::test]
async fn what_is_refused_between_postgres_and_mariadb() {
    refuse(&[Kind::Postgres, Kind::Mariadb]).await;
}

#[tokio::test]
async fn what_is_refused_between_postgres_and_sqlite() {
    refuse(&[Kind::Postgres, Kind::Sqlite]).await;
}

#[tokio::test]
async fn what_is_refused_between_mariadb_and_sqlite() {
    refuse(&[Kind::Mariadb, Kind::Sqlite]).await;
}
