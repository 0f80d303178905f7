//! `concord conflicts resolve`: a decision is overturned by a new, ordinary change.

use concord::sync::{Remedy, ResolvedReport};
use concord_tests::{Cluster, Kind, NAMES};
use serde_json::json;

const ITEMS: &str = "CREATE TABLE items (id integer PRIMARY KEY, name text, ratio double precision);
                     INSERT INTO items VALUES (1, 'one', 0.5), (2, 'two', 0.25)";

const ALL: &str = "SELECT id, name FROM items ORDER BY id";

concord_tests::clusters! {
    pairs: [
        deletes_come_and_go, a_row_is_given, who_changes_it_meanwhile_is_not_overwritten, what_would_not_be_carried_is_refused,
        what_was_added_up_stays, whoever_is_away_is_not_overruled,
    ]
    many: [several_losers]
    all: [undone_and_redone, what_moved_on_is_left]
}

/// A conflict about row 1 between the first node and the last, which wins; everybody has the outcome.
async fn decided(kinds: &[Kind]) -> (Cluster, String) {
    let mut cluster = Cluster::new(kinds, |_| ITEMS.to_owned(), "[tables.items]\n").await;
    cluster.later(0, "UPDATE items SET name = 'lost' WHERE id = 1").await;
    cluster.later(kinds.len() - 1, "UPDATE items SET name = 'won' WHERE id = 1").await;
    assert_eq!(cluster.sync().await.conflicts, 1);
    let id = the_conflict(&cluster).await;
    (cluster, id)
}

async fn the_conflict(cluster: &Cluster) -> String {
    let mut all = cluster.session().conflicts(0).await.expect("a journal");
    all.retain(|one| one.resolves().is_none());
    all.swap_remove(0).id
}

async fn resolve(cluster: &Cluster, id: &str, remedy: Remedy) -> Result<ResolvedReport, (String, u8)> {
    let done = Box::pin(cluster.session().resolve(id, &remedy, false)).await;
    done.map_err(|error| (error.to_string(), error.exit_code()))
}

async fn undone_and_redone(kinds: &[Kind]) {
    let (mut cluster, id) = decided(kinds).await;
    let done = resolve(&cluster, &id[..6], Remedy::Undo).await.expect("nothing has changed since");
    assert_eq!(
        (done.before, done.after),
        (
            Some(json!({"id": 1, "name": "won", "ratio": {"float": 0.5}})),
            Some(json!({"id": 1, "name": "lost", "ratio": {"float": 0.5}}))
        )
    );
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds(ALL, &["1|lost", "2|two"]).await;
    // What was overturned is in the journal, and can be brought back.
    let journal = cluster.session().conflicts(0).await.expect("a journal");
    let word = journal.iter().find(|one| one.id == done.id).expect("it is kept");
    assert_eq!((word.resolves(), word.loser.as_str()), (Some(id.as_str()), NAMES[kinds.len() - 1]));
    let again = resolve(&cluster, &id, Remedy::Undo).await.expect_err("the row is what lost, and no longer what won");
    let hint = format!("`concord conflicts resolve {} --undo` takes that back", done.id);
    assert!(again.0.contains("is now") && again.0.contains(&hint) && again.1 == 1, "{again:?}");
    let back = resolve(&cluster, &done.id, Remedy::Undo).await.expect("it stands as it was written");
    assert_ne!(back.id, done.id);
    assert_eq!(cluster.settle().await.conflicts, 0);
    cluster.holds(ALL, &["1|won", "2|two"]).await;
}

async fn what_would_not_be_carried_is_refused(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| ITEMS.to_owned(), "[tables.items]\noperations = [\"insert\"]\n").await;
    cluster.run(0, "INSERT INTO items VALUES (3, 'here', 1)").await;
    cluster.later(1, "INSERT INTO items VALUES (3, 'there', 1)").await;
    cluster.sync().await;
    let id = the_conflict(&cluster).await;
    let refused = Box::pin(cluster.session().resolve(&id, &Remedy::Row(None), true)).await.expect_err("no deletes");
    let refused = refused.to_string();
    assert!(refused.contains("`operations` of `items` carries no deletes"), "{refused}");
    cluster.quiet().await;
}

async fn deletes_come_and_go(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| ITEMS.to_owned(), "[tables.items]\n").await;
    cluster.later(0, "DELETE FROM items WHERE id = 1").await;
    cluster.later(1, "UPDATE items SET name = 'won' WHERE id = 1").await;
    cluster.sync().await;
    let id = the_conflict(&cluster).await;
    resolve(&cluster, &id, Remedy::Take("a".into())).await.expect("the row is what won");
    cluster.settle().await;
    cluster.holds(ALL, &["2|two"]).await;
    let error = resolve(&cluster, &id, Remedy::Take("b".into())).await.expect_err("it is deleted now").0;
    assert!(error.contains("it is now deleted"), "{error}");
    let forced = Box::pin(cluster.session().resolve(&id, &Remedy::Take("b".into()), true)).await.expect("forced");
    assert_eq!(forced.before, None);
    cluster.settle().await;
    cluster.holds(ALL, &["1|won", "2|two"]).await;
}

async fn a_row_is_given(kinds: &[Kind]) {
    let (mut cluster, id) = decided(kinds).await;
    let row = |document: serde_json::Value| Remedy::Row(document.as_object().cloned());
    for (document, why) in [
        (json!({"nam": "x"}), "no column `nam`"),
        (json!({"id": 2}), "the conflict is about [1]"),
        (json!({"name": "won"}), "that is what stands"),
    ] {
        let (error, code) = resolve(&cluster, &id, row(document)).await.expect_err(why);
        assert!(error.contains(why) && code == 2, "{error}");
    }
    if kinds[0] == Kind::Postgres && kinds[1] == Kind::Postgres {
        let (error, _) = resolve(&cluster, &id, row(json!({"ratio": "much"}))).await.expect_err("it is no number");
        assert!(error.contains("the value of `ratio` is no"), "{error}");
    }
    resolve(&cluster, &id, row(json!({"name": "by hand", "ratio": 3.5}))).await.expect("it fits");
    cluster.settle().await;
    cluster.holds("SELECT name FROM items WHERE ratio = 3.5", &["by hand"]).await;
    Box::pin(cluster.session().resolve(&id, &Remedy::Row(None), true)).await.expect("forced");
    cluster.settle().await;
    cluster.holds(ALL, &["2|two"]).await;
}

/// Anywhere, and whether or not it has arrived.
async fn what_moved_on_is_left(kinds: &[Kind]) {
    let (mut cluster, id) = decided(kinds).await;
    let last = kinds.len() - 1;
    cluster.run(last, "UPDATE items SET name = 'newer' WHERE id = 1").await;
    for _ in 0..2 {
        let (error, code) = resolve(&cluster, &id, Remedy::Undo).await.expect_err("it was changed since");
        assert!(error.contains("\"newer\"") && error.contains("--force") && code == 1, "{error}");
        cluster.settle().await;
    }
    Box::pin(cluster.session().resolve(&id, &Remedy::Undo, true)).await.expect("forced");
    cluster.settle().await;
    cluster.holds(ALL, &["1|lost", "2|two"]).await;
}

/// Nobody can tell whether the row was changed there, and the older version would win against that.
async fn whoever_is_away_is_not_overruled(kinds: &[Kind]) {
    let (mut cluster, id) = decided(kinds).await;
    cluster.run(1, "UPDATE items SET name = 'newer' WHERE id = 1").await;
    cluster.leave(1);
    let (error, code) = resolve(&cluster, &id, Remedy::Undo).await.expect_err("it is not known what b has");
    assert!(error.contains("node `b`") && error.contains("add --force") && code == 3, "{error}");
    cluster.holds_at(0, ALL, &["1|won", "2|two"]).await;
    let forced = Box::pin(cluster.session().resolve(&id, &Remedy::Undo, true)).await.expect("forced");
    assert_eq!(forced.away.iter().map(|away| &*away.node).collect::<Vec<_>>(), ["b"]);
    cluster.holds_at(0, ALL, &["1|lost", "2|two"]).await;
}

/// With a version that lost nothing is taken back of what others added; who names the column means it.
async fn what_was_added_up_stays(kinds: &[Kind]) {
    const COUNTED: &str = "SELECT id, name, amount FROM items";
    let setup = "CREATE TABLE items (id integer PRIMARY KEY, name text, amount integer);
                 INSERT INTO items VALUES (1, 'one', 100)";
    let config = "[tables.items]\nconflict = { sum = [\"amount\"] }\n";
    let mut cluster = Cluster::new(kinds, |_| setup.to_owned(), config).await;
    cluster.later(0, "UPDATE items SET name = 'lost', amount = amount + 5").await;
    cluster.later(1, "UPDATE items SET name = 'won', amount = amount + 20").await;
    assert_eq!(cluster.sync().await.conflicts, 1);
    cluster.holds(COUNTED, &["1|won|125"]).await;
    let id = the_conflict(&cluster).await;
    for (remedy, stands) in [
        (Remedy::Undo, "1|lost|125"),
        (Remedy::Take("b".into()), "1|won|125"),
        (Remedy::Row(json!({"name": "by hand", "amount": 7}).as_object().cloned()), "1|by hand|7"),
    ] {
        Box::pin(cluster.session().resolve(&id, &remedy, true)).await.expect("it can be written");
        cluster.settle().await;
        cluster.holds(COUNTED, &[stands]).await;
    }
}

async fn who_changes_it_meanwhile_is_not_overwritten(kinds: &[Kind]) {
    let (mut cluster, id) = decided(kinds).await;
    let mut session = cluster.session();
    let work = async { session.resolve(&id, &Remedy::Undo, false).await.map_err(|error| error.to_string()) };
    let meanwhile =
        async |cluster: &mut Cluster| cluster.run(0, "UPDATE items SET name = 'meanwhile' WHERE id = 1").await;
    let error = cluster.during("resolve-checked", work, meanwhile).await.expect_err("somebody was faster");
    assert!(error.contains("at this very moment"), "{error}");
    cluster.settle().await;
    cluster.holds(ALL, &["1|meanwhile", "2|two"]).await;
    assert_eq!(cluster.session().conflicts(0).await.expect("a journal").len(), 1);
}

async fn several_losers(kinds: &[Kind]) {
    let mut cluster = Cluster::new(kinds, |_| ITEMS.to_owned(), "[tables.items]\n").await;
    for (at, name) in NAMES.iter().enumerate().take(3) {
        cluster.later(at, &format!("UPDATE items SET name = '{name}' WHERE id = 1")).await;
    }
    cluster.sync().await;
    let id = the_conflict(&cluster).await;
    let (error, code) = resolve(&cluster, &id, Remedy::Undo).await.expect_err("which of them?");
    assert!(error.contains("several versions lost") && error.contains("--take") && code == 2, "{error}");
    resolve(&cluster, &id, Remedy::Take("b".into())).await.expect("it had a version");
    cluster.settle().await;
    cluster.holds(ALL, &["1|b", "2|two"]).await;
}

#[tokio::test]
async fn the_command() {
    let (mut cluster, id) = decided(&[Kind::Postgres, Kind::Sqlite]).await;
    let concord = cluster.command("[tables.items]\n");
    concord.write("row.json", "{\"name\": \"x\",");
    for (arguments, why) in [
        (&["--row", "row.json"][..], "row.json:1:"),
        (&["--take", "nobody"], "no node is called"),
        (&[], "required"),
        (&["--undo", "--take", "a"], "cannot be used with"),
    ] {
        let said = concord.run(&[&["conflicts", "resolve", &id], arguments].concat()).await.expect(2);
        assert!(said.says(why), "{}", said.stderr);
    }
    let said = concord.run(&["conflicts", "resolve", "zzz", "--undo"]).await.expect(2);
    assert!(said.says("no conflict has an id"), "{}", said.stderr);
    let said = concord.run(&["conflicts", "resolve", &id, "--undo"]).await.ok();
    assert!(said.says("items [1] written at a; the next sync carries it"), "{}", said.stdout);
    concord.run(&["sync"]).await.ok();
    cluster.holds(ALL, &["1|lost", "2|two"]).await;
    let said = concord.run(&["conflicts", "show", &id[..5]]).await.ok();
    assert!(
        said.says("resolved by hand: overturns the decision of") && said.says(&format!("{id}.1")),
        "{}",
        said.stdout
    );
}

/// A decision that was overturned, and that again, is one account still, under whichever of its ids.
#[tokio::test]
async fn what_was_undone_twice_is_shown() {
    let (mut cluster, id) = decided(&[Kind::Sqlite, Kind::Sqlite]).await;
    let concord = cluster.command("[tables.items]\n");
    for overturned in [id.clone(), format!("{id}.1")] {
        concord.run(&["conflicts", "resolve", &overturned, "--undo"]).await.ok();
        concord.run(&["sync"]).await.ok();
    }
    cluster.holds(ALL, &["1|won", "2|two"]).await;
    let all = [id.clone(), format!("{id}.1"), format!("{id}.1.1")];
    for (at, shown) in all.iter().enumerate() {
        let said = concord.run(&["conflicts", "show", shown]).await.ok();
        assert!(said.says(&format!("conflict {shown}: table items")), "{}", said.stdout);
        assert!(all[at..].iter().all(|told| said.says(told)), "{shown}: {}", said.stdout);
    }
    // What is written without having asked somebody is told as such.
    let config = std::fs::read_to_string(concord.path("concord.toml")).expect("the configuration");
    concord.write("concord.toml", &config.replace(&cluster.nodes[1].database.url(), "sqlite:/nowhere/b.db"));
    let said = concord.run(&["conflicts", "resolve", &id, "--undo", "--force"]).await.expect(3);
    assert!(said.says("written at a") && said.says("node `b` is left out"), "{said:?}");
}
