//! Filters in the sync: each node holds the rows that belong there, and what leaves a subset is deleted nowhere else.
//!
//! The hostile plugin is a filter as well: of rows whose note is `poison` it says what its configuration tells it to.

use concord::error::DONE;
use concord::sync::{LoadOptions, Summary, Verify, WhyState};
use concord_tests::{As, Cluster, Kind};

concord_tests::clusters! {
    pairs: [
        rows_move_out_of_a_subset_and_back, what_leaves_the_subset_by_its_own_node_goes_on, a_delete_in_the_subset_is_one_everywhere,
        a_row_made_where_another_is_hidden_is_a_conflict, a_child_waits_for_a_parent_outside,
        a_parent_stays_while_children_need_it, what_would_take_others_along_goes_once_these_have_gone, rows_are_moved_by_another_filter, a_row_that_cannot_be_judged_waits,
    ]
    many: [nobody_loses_what_moves_while_nodes_are_away]
    all: []
}

const ALL: &str = "SELECT id, note FROM items ORDER BY id";

/// What is poison belongs at no node but the first.
fn filtered(nodes: usize, attack: &str) -> String {
    let mut text = "[tables.items]\n".to_owned();
    for name in ["b", "c", "d", "e"].iter().take(nodes - 1) {
        text += &format!("[tables.items.nodes.{name}]\nfilter = {{ plugin = \"hostile\", attack = \"{attack}\" }}\n");
    }
    text
}

async fn items(kinds: &[Kind], tables: &str) -> Cluster {
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, note text);
         INSERT INTO items VALUES (1, 'one'), (2, 'two')"
            .to_owned()
    };
    let mut cluster = Cluster::bare(kinds, setup, tables).await;
    cluster.pin(&["hostile"]);
    cluster.install().await;
    cluster
}

/// Syncs until everything is at rest; rows are not the same everywhere.
async fn settled(cluster: &mut Cluster) -> Summary {
    let summary = cluster.sync().await;
    assert_eq!((&summary.away[..], &summary.stopped[..]), (&[][..], &[][..]));
    let parked = cluster.session().parked().await.expect("reading what waits");
    assert!(parked.is_empty(), "rows wait: {parked:#?}");
    cluster.quiet().await;
    summary
}

async fn rows_move_out_of_a_subset_and_back(kinds: &[Kind]) {
    let mut cluster = items(kinds, &filtered(2, "drop")).await;
    cluster.later(0, "UPDATE items SET note = 'poison' WHERE id = 1; INSERT INTO items VALUES (3, 'poison')").await;
    let summary = settled(&mut cluster).await;
    assert_eq!((summary.conflicts, summary.waiting, summary.exit_code()), (0, 0, DONE));
    cluster.holds_at(0, ALL, &["1|poison", "2|two", "3|poison"]).await;
    cluster.holds_at(1, ALL, &["2|two"]).await;
    cluster.quiet().await;
    // What has moved and what was never there both come whole.
    cluster.later(0, "UPDATE items SET note = 'back' WHERE id <> 2").await;
    settled(&mut cluster).await;
    cluster.holds(ALL, &["1|back", "2|two", "3|back"]).await;
    // The row's history goes on as if it had never been away.
    cluster.later(1, "UPDATE items SET note = 'b' WHERE id = 1").await;
    assert_eq!(settled(&mut cluster).await.conflicts, 0);
    cluster.holds(ALL, &["1|b", "2|two", "3|back"]).await;
}

async fn what_leaves_the_subset_by_its_own_node_goes_on(kinds: &[Kind]) {
    let mut cluster = items(kinds, &filtered(2, "drop")).await;
    cluster.later(1, "UPDATE items SET note = 'poison' WHERE id = 1; INSERT INTO items VALUES (3, 'poison')").await;
    // Nobody else can take it yet.
    cluster.leave(0);
    cluster.sync().await;
    cluster.holds_at(1, ALL, &["1|poison", "2|two", "3|poison"]).await;
    cluster.back(0);
    let summary = settled(&mut cluster).await;
    assert_eq!((summary.conflicts, summary.waiting), (0, 0));
    cluster.holds_at(0, ALL, &["1|poison", "2|two", "3|poison"]).await;
    cluster.holds_at(1, ALL, &["2|two"]).await;
}

async fn a_delete_in_the_subset_is_one_everywhere(kinds: &[Kind]) {
    let mut cluster = items(kinds, &filtered(2, "drop")).await;
    cluster.later(1, "DELETE FROM items WHERE id = 1").await;
    settled(&mut cluster).await;
    cluster.holds(ALL, &["2|two"]).await;
    // One of a row that is not there is none.
    cluster.later(0, "UPDATE items SET note = 'poison' WHERE id = 2").await;
    settled(&mut cluster).await;
    cluster.later(1, "DELETE FROM items WHERE id = 2").await;
    settled(&mut cluster).await;
    cluster.holds_at(0, ALL, &["2|poison"]).await;
    cluster.holds_at(1, ALL, &[]).await;
    // And it is one where the row is not.
    cluster.later(0, "DELETE FROM items WHERE id = 2").await;
    settled(&mut cluster).await;
    cluster.holds(ALL, &[]).await;
}

async fn a_row_made_where_another_is_hidden_is_a_conflict(kinds: &[Kind]) {
    let mut cluster = items(kinds, &filtered(2, "drop")).await;
    cluster.later(0, "UPDATE items SET note = 'poison' WHERE id = 1").await;
    settled(&mut cluster).await;
    cluster.later(1, "INSERT INTO items VALUES (1, 'mine')").await;
    let summary = settled(&mut cluster).await;
    assert_eq!(summary.conflicts, 1);
    cluster.holds(ALL, &["1|mine", "2|two"]).await;
    let lost = cluster.session().conflicts(10).await.expect("the journal");
    assert!(!lost.is_empty(), "what was hidden is kept");
}

async fn a_child_waits_for_a_parent_outside(kinds: &[Kind]) {
    let mut cluster = family(kinds).await;
    cluster.later(0, "INSERT INTO items VALUES (3, 'poison'); INSERT INTO parts VALUES (1, 3)").await;
    let summary = cluster.sync().await;
    assert_eq!(summary.waiting, 1);
    assert_eq!(cluster.waiting().await, ["b parts [1] constraint"]);
    cluster.later(0, "UPDATE items SET note = 'fine' WHERE id = 3").await;
    settled(&mut cluster).await;
    cluster.holds("SELECT id, item FROM parts", &["1|3"]).await;
}

async fn a_parent_stays_while_children_need_it(kinds: &[Kind]) {
    let mut cluster = family(kinds).await;
    cluster.later(0, "INSERT INTO parts VALUES (1, 2)").await;
    settled(&mut cluster).await;
    cluster.later(0, "UPDATE items SET note = 'poison' WHERE id = 2").await;
    cluster.sync().await;
    cluster.holds_at(1, "SELECT id, note FROM items WHERE id = 2", &["2|two"]).await;
    assert_eq!(cluster.waiting().await, ["b items [2] constraint"]);
    let reasons = cluster.reasons("b").await;
    let told = "rows of parts refer to it and keep it, although it does not belong here by this node's filter; change those first, or give their \
                table a filter here that lets them go first: ";
    assert!(matches!(&reasons[..], [reason] if reason.starts_with(told)), "{reasons:?}");
    cluster.later(1, "DELETE FROM parts").await;
    settled(&mut cluster).await;
    cluster.holds_at(1, ALL, &["1|one"]).await;
    cluster.holds_at(0, ALL, &["1|one", "2|poison"]).await;
}

/// What is said then is what helps: dropping what waits would undo the change at every node.
async fn what_would_take_others_along_goes_once_these_have_gone(kinds: &[Kind]) {
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, note text);
         CREATE TABLE parts (id integer PRIMARY KEY, note text, item integer REFERENCES items (id) ON DELETE CASCADE);
         INSERT INTO items VALUES (1, 'one'), (2, 'two');
         INSERT INTO parts VALUES (1, 'fine', 1), (2, 'fine', 2)"
            .to_owned()
    };
    let tables = format!("{}[tables.parts]\n", filtered(2, "drop"));
    let mut cluster = Cluster::bare(kinds, setup, &tables).await;
    cluster.pin(&["hostile"]);
    cluster.install().await;
    cluster.later(0, "UPDATE items SET note = 'poison'").await;
    assert_eq!(cluster.sync().await.waiting, 2);
    let told = "rows of parts refer to it here and would be deleted or changed with it; change those first, or give their table a \
                filter here that lets them go first";
    assert_eq!(cluster.reasons("b").await, [told; 2]);
    cluster.later(0, "DELETE FROM parts WHERE id = 1").await;
    assert_eq!(cluster.sync().await.waiting, 1);
    cluster.holds_at(1, ALL, &["2|two"]).await;
    let filters = filtered(2, "drop");
    cluster.configure(&format!("{filters}{}", filters.replace("items", "parts")));
    let options = LoadOptions { refilter: true, ..LoadOptions::default() };
    cluster.session().load(&options, &mut |_| ()).await.expect("they are there");
    cluster.later(0, "UPDATE parts SET note = 'poison'").await;
    settled(&mut cluster).await;
    cluster.holds_at(1, ALL, &[]).await;
    cluster.holds_at(1, "SELECT id FROM parts", &[]).await;
    cluster.holds_at(0, ALL, &["1|poison", "2|poison"]).await;
    cluster.holds_at(0, "SELECT id FROM parts", &["2"]).await;
}

/// Items, and parts that refer to them.
async fn family(kinds: &[Kind]) -> Cluster {
    let setup = |_| {
        "CREATE TABLE items (id integer PRIMARY KEY, note text);
         CREATE TABLE parts (id integer PRIMARY KEY, item integer REFERENCES items (id));
         INSERT INTO items VALUES (1, 'one'), (2, 'two')"
            .to_owned()
    };
    let tables = format!("{}[tables.parts]\n", filtered(2, "drop"));
    let mut cluster = Cluster::bare(kinds, setup, &tables).await;
    cluster.pin(&["hostile"]);
    cluster.install().await;
    cluster
}

async fn rows_are_moved_by_another_filter(kinds: &[Kind]) {
    let mut cluster = items(kinds, "[tables.items]\n").await;
    cluster.later(0, "INSERT INTO items VALUES (3, 'poison'), (4, 'poison')").await;
    settled(&mut cluster).await;
    // With a filter of which nobody knows where it leads, the table stands still.
    cluster.configure(&filtered(2, "drop"));
    let summary = cluster.sync().await;
    let told = &summary.stopped[0].why;
    assert!(
        told.ends_with(
            "rows were brought there without one (start `concord watch` again if it began before the file was changed); run \
             `concord load --refilter --table items`"
        ),
        "{told}"
    );
    // What needs an install gets it, and it is still the load that moves rows.
    for at in 0..2 {
        cluster.run_as_owner(at, "ALTER TABLE items ADD COLUMN more integer").await;
    }
    let (_, warnings) = cluster.session().install().await.expect("nothing is wrong but the place of rows");
    assert!(warnings.iter().any(|warning| warning.contains("concord load --refilter")), "{warnings:?}");
    let told = &cluster.sync().await.stopped[0].why;
    assert!(told.ends_with("concord load --refilter --table items`"), "{told}");
    let verify = cluster.session().verify(&Verify::default()).await.expect("a comparison");
    assert!(verify.tables[0].skipped.as_ref().is_some_and(|why| why.contains("--refilter")), "{verify:?}");
    let options = LoadOptions { refilter: true, ..LoadOptions::default() };
    let dry = cluster.load(&LoadOptions { dry_run: true, ..options.clone() }).await;
    assert_eq!((dry.tables[0].nodes[0].node.as_str(), dry.tables[0].nodes[0].removed), ("b", 2));
    assert_eq!(cluster.sync().await.stopped.len(), 1);
    let loaded = cluster.load(&options).await;
    assert_eq!(loaded.tables[0].nodes[0].removed, 2, "{loaded:?}");
    cluster.holds_at(1, ALL, &["1|one", "2|two"]).await;
    cluster.holds_at(0, ALL, &["1|one", "2|two", "3|poison", "4|poison"]).await;
    assert_eq!(settled(&mut cluster).await.stopped, []);
    // Rows that do not belong are not missed, and those that do are.
    let verify = cluster.session().verify(&Verify::default()).await.expect("a comparison");
    assert_eq!(verify.exit_code(), DONE, "{verify:?}");
    cluster.later(1, "INSERT INTO items (id, note) VALUES (9, 'poison')").await;
    settled(&mut cluster).await;
    cluster.later(0, "DELETE FROM items WHERE id = 9").await;
    settled(&mut cluster).await;
    // Without the filter all of them come back.
    cluster.configure("[tables.items]\n");
    assert_eq!(cluster.sync().await.stopped.len(), 1);
    cluster.load(&options).await;
    settled(&mut cluster).await;
    cluster.holds(ALL, &["1|one", "2|two", "3|poison", "4|poison"]).await;
}

async fn a_row_that_cannot_be_judged_waits(kinds: &[Kind]) {
    for attack in ["problem", "panic", "loop", "memory", "none", "other"] {
        let mut cluster = items(kinds, &filtered(2, attack)).await;
        cluster
            .later(0, "UPDATE items SET note = 'poison' WHERE id = 1; UPDATE items SET note = 'new' WHERE id = 2")
            .await;
        let summary = cluster.sync().await;
        // Whoever gives no answers at all gives none about its neighbour.
        let neighbour = if attack == "none" { "two" } else { "new" };
        cluster.holds_at(1, ALL, &["1|one", &format!("2|{neighbour}")]).await;
        assert_eq!(summary.waiting, if attack == "none" { 2 } else { 1 }, "{attack}");
        let reasons = cluster.reasons("b").await;
        assert!(
            reasons.iter().all(|why| why.starts_with("plugin `hostile`, filter of `items`, judge: ")),
            "{reasons:?}"
        );
        cluster.quiet().await;
        // A change that can be judged ends it.
        cluster.later(0, "UPDATE items SET note = 'well'").await;
        if attack != "none" {
            settled(&mut cluster).await;
            cluster.holds(ALL, &["1|well", "2|well"]).await;
        }
    }
}

async fn nobody_loses_what_moves_while_nodes_are_away(kinds: &[Kind]) {
    let mut cluster = items(kinds, &filtered(kinds.len(), "drop")).await;
    let last = kinds.len() - 1;
    cluster.leave(last);
    cluster.later(1, "UPDATE items SET note = 'poison' WHERE id = 1").await;
    cluster.sync().await;
    cluster.sync().await;
    cluster.holds_at(1, ALL, &["2|two"]).await;
    // Who was away had the row, and who has it now is away: what became of it nobody can tell.
    cluster.back(last);
    cluster.leave(0);
    cluster.sync().await;
    cluster.holds_at(last, ALL, &["1|one", "2|two"]).await;
    cluster.back(0);
    let summary = settled(&mut cluster).await;
    assert_eq!((summary.conflicts, summary.waiting), (0, 0));
    cluster.holds_at(0, ALL, &["1|poison", "2|two"]).await;
    for at in 1..kinds.len() {
        cluster.holds_at(at, ALL, &["2|two"]).await;
    }
    cluster.later(0, "UPDATE items SET note = 'back' WHERE id = 1").await;
    settled(&mut cluster).await;
    cluster.holds(ALL, &["1|back", "2|two"]).await;
}

#[tokio::test]
async fn what_its_writers_own_filter_took_away_is_not_told_as_deleted() {
    let mut cluster = items(&[Kind::Sqlite; 3], &filtered(2, "drop")).await;
    cluster.later(0, "UPDATE items SET note = 'poison' WHERE id = 2; INSERT INTO items VALUES (5, 'five')").await;
    settled(&mut cluster).await;
    // As long as one node cannot take it, histories tell of it.
    let unique = "CREATE UNIQUE INDEX notes ON items (note)";
    cluster.nodes[2].database.user_as(As::Sync).await.execute(unique).await;
    cluster.install().await;
    cluster.later(1, "UPDATE items SET note = 'poison' WHERE id = 1").await;
    assert_eq!(cluster.sync().await.waiting, 1);
    let why = Box::pin(cluster.session().why("items", &["1".to_owned()])).await.expect("an account");
    let [version] = &why.versions[..] else { panic!("{why:?}") };
    let row = Some(serde_json::json!({"id": 1, "note": "poison"}));
    assert_eq!((version.node.as_deref(), &version.row), (Some("b"), &row), "{why:?}");
    let states: Vec<WhyState> = why.nodes.iter().map(|node| node.state).collect();
    assert_eq!(states, [WhyState::Current, WhyState::Apart, WhyState::Waits], "{why:?}");
    // A delete by a user of that node is one.
    cluster.later(1, "DELETE FROM items WHERE id = 5").await;
    let why = Box::pin(cluster.session().why("items", &["5".to_owned()])).await.expect("an account");
    assert_eq!((why.versions[0].node.as_deref(), &why.versions[0].row), (Some("b"), &None), "{why:?}");
}
