//! Tables that triggers still record although the file says by now that they are compared.

use concord::sync::{Repair, Verify};
use concord_tests::{As, Cluster, Concord, Kind};

use super::{PAIRS, carried, settle};

const TRIGGERS: &str = "[tables.stock]\nconflict = { sum = [\"n\"] }\n";

const COMPARED: &str = "[tables.stock]\nmode = \"compare\"\nfrom = \"a\"\n";

const STILL: &str = "triggers still record it at a, b: run `concord sync` with the former file";

fn stock(_: Kind) -> String {
    "CREATE TABLE stock (id bigint PRIMARY KEY, n bigint)".to_owned()
}

/// GIVEN changes that triggers have recorded
/// WHEN the file says that the table is compared
/// THEN nobody compares it until they have been carried and the triggers are gone, so that each counts once.
#[tokio::test]
async fn what_triggers_record_is_not_compared() {
    for kinds in PAIRS {
        let mut cluster = Cluster::new(kinds, stock, TRIGGERS).await;
        cluster.run(0, "INSERT INTO stock VALUES (1, 10)").await;
        cluster.settle().await;
        cluster.run(0, "UPDATE stock SET n = n - 3").await;
        cluster.run(1, "UPDATE stock SET n = n - 2").await;
        cluster.configure(COMPARED);
        let summary = cluster.sync().await;
        assert!(summary.stopped.len() == 1 && summary.stopped[0].why.contains(STILL), "{kinds:?}: {summary:#?}");
        assert_eq!((carried(&summary), summary.exit_code()), (Vec::new(), 1), "{kinds:?}: {summary:#?}");
        for repair in [Repair::Tell, Repair::Mend, Repair::Foresee] {
            let how = Verify { repair, ..Verify::default() };
            let verified = cluster.session().verify(&how).await.expect("all are there");
            let why = verified.tables[0].skipped.as_deref().unwrap_or_default();
            assert!(why.contains(STILL), "{kinds:?}: {verified:#?}");
        }
        assert_eq!(cluster.session().status().await.expect("all are there").exit_code(), 1);
        cluster.configure(TRIGGERS);
        cluster.settle().await;
        cluster.holds("SELECT * FROM stock", &["1|5"]).await;
        cluster.configure(COMPARED);
        cluster.install().await;
        cluster.run(0, "UPDATE stock SET n = n - 1").await;
        settle(&mut cluster).await;
        cluster.holds("SELECT * FROM stock", &["1|4"]).await;
    }
}

/// The commands say so, and those that write do not.
#[tokio::test]
async fn commands_tell_what_triggers_still_record() {
    let mut cluster = Cluster::new(&[Kind::Sqlite; 2], stock, TRIGGERS).await;
    cluster.run(0, "INSERT INTO stock VALUES (1, 10)").await;
    let concord = cluster.command(COMPARED);
    assert!(concord.run(&["check"]).await.expect(0).says(STILL));
    assert!(concord.run(&["plan"]).await.expect(1).says(STILL));
    assert!(concord.run(&["load"]).await.expect(2).says(STILL));
    assert!(concord.run(&["verify", "--repair"]).await.expect(1).says(STILL));
    let mut watch = concord.start(&["watch"]);
    watch.line(STILL).await;
    watch.kill().await;
    cluster.holds_at(1, "SELECT * FROM stock", &[]).await;
    // Under another name in the file it is the same table.
    let nodes = ["a", "b"].map(|node| format!("[tables.goods.nodes.{node}]\ntable = \"stock\"\n")).concat();
    let renamed = COMPARED.replace("stock", "goods") + &nodes;
    assert!(cluster.command(&renamed).run(&["sync"]).await.expect(1).says(STILL));
}

/// GIVEN nodes that have other names in the file than those under which they were installed
/// WHEN the file says that their table is compared
/// THEN it is said how to go on, as nobody takes triggers away that may be another node's.
#[tokio::test]
async fn triggers_of_nodes_of_other_names_are_told() {
    let cluster = Cluster::new(&[Kind::Sqlite; 2], stock, TRIGGERS).await;
    let named = |names: [&str; 2]| {
        let mut text = "name = \"test\"\n".to_owned();
        for (name, node) in names.iter().zip(&cluster.nodes) {
            text += &format!("[nodes.{name}]\nurl = \"{}\"\n", node.database.url());
        }
        Concord::new(&(text + &COMPARED.replace("from = \"a\"", &format!("from = \"{}\"", names[0]))))
    };
    let renamed = named(["hq", "branch"]);
    assert!(renamed.run(&["sync"]).await.expect(1).says("triggers still record it at hq, branch"));
    for command in ["check", "install"] {
        let refused = renamed.run(&[command]).await.expect(2);
        assert!(refused.says("node `hq`: it is installed as node `a` of the sync `test`"), "{command}: {refused:?}");
        assert!(refused.says("name both so in the file"), "{command}: {refused:?}");
    }
    named(["a", "b"]).run(&["install"]).await.ok();
    renamed.run(&["install"]).await.ok();
    renamed.run(&["sync"]).await.ok();
}

/// The list of what is installed is gone before the node is forgotten.
#[tokio::test]
async fn what_an_uninstall_left_that_was_broken_off_is_no_hindrance() {
    let mut cluster = Cluster::new(&[Kind::Mariadb, Kind::Sqlite], stock, TRIGGERS).await;
    cluster.configure(COMPARED);
    cluster.install().await;
    cluster.run_as_owner(0, "DROP TABLE concord_installed").await;
    cluster.run(0, "INSERT INTO stock VALUES (1, 10)").await;
    let summary = cluster.sync().await;
    assert_eq!(carried(&summary), [("b".to_owned(), 1, 0)], "{summary:#?}");
}

/// GIVEN a comparison that is at work
/// WHEN somebody installs the triggers anew, with the former file
/// THEN nothing is written that they would record.
#[tokio::test]
async fn triggers_that_come_back_end_a_comparison() {
    let points = PAIRS.map(|kinds| ("verify-mend", kinds));
    // At the second reading, so that the third finds nothing changed. MariaDB makes no triggers while the other node reads.
    let earlier = PAIRS.into_iter().take(3).map(|kinds| ("compare-open@3", kinds));
    for (point, kinds) in earlier.chain(points) {
        let mut cluster = Cluster::bare(kinds, stock, COMPARED).await;
        cluster.run(0, "INSERT INTO stock VALUES (1, 10)").await;
        let summary = cluster
            .sync_while(point, async |cluster| {
                cluster.configure(TRIGGERS);
                cluster.install().await;
                cluster.configure(COMPARED);
            })
            .await;
        let why = summary.stopped.first().map(|stopped| stopped.why.as_str()).unwrap_or_default();
        assert!(why.contains(STILL), "{point}, {kinds:?}: {summary:#?}");
        assert_eq!(carried(&summary), [], "{point}, {kinds:?}");
        cluster.holds_at(1, "SELECT * FROM stock", &[]).await;
    }
}

/// Who was away is asked when it is there again.
#[tokio::test]
async fn who_comes_back_is_asked() {
    let mut cluster = Cluster::new(&[Kind::Sqlite; 3], stock, TRIGGERS).await;
    cluster.configure(COMPARED);
    for node in ["a", "b"] {
        cluster.session().uninstall_at(node).await.expect("it is there");
    }
    cluster.leave(2);
    cluster.run(0, "INSERT INTO stock VALUES (1, 10)").await;
    assert_eq!(carried(&cluster.sync().await), [("b".to_owned(), 1, 0)]);
    cluster.back(2);
    cluster.run(0, "INSERT INTO stock VALUES (2, 20)").await;
    let summary = cluster.sync().await;
    assert!(summary.stopped[0].why.contains("triggers still record it at c: "), "{summary:#?}");
    cluster.holds_at(1, "SELECT id FROM stock", &["1"]).await;
}

/// Service tables that may not be read are not taken for none: the right to read them is asked for, and nothing is compared without.
#[tokio::test]
async fn what_may_not_be_read_is_not_taken_for_nothing() {
    let mut cluster = Cluster::new(&[Kind::Sqlite, Kind::Postgres], stock, TRIGGERS).await;
    cluster.session().uninstall_at("a").await.expect("it is there");
    cluster.configure(COMPARED);
    cluster.connect_as(1, As::App);
    cluster.run(0, "INSERT INTO stock VALUES (1, 10)").await;
    let summary = cluster.sync().await;
    assert!(summary.away[0].why.contains("reading the service tables: permission denied"), "{summary:#?}");
    assert_eq!(summary.exit_code(), 1, "{summary:#?}");
    let problems = cluster.session().check().await.expect("all are there").problems;
    let grant = "GRANT USAGE ON SCHEMA concord TO \"app\"; GRANT SELECT ON concord.node, concord.installed TO \"app\";";
    assert_eq!(problems[0].lines().nth(1).map(str::trim), Some(grant), "{problems:#?}");
    cluster.run_as_owner(1, grant).await;
    assert_eq!(cluster.session().check().await.expect("all are there").problems, [] as [&str; 0]);
    let summary = cluster.sync().await;
    assert!(summary.stopped[0].why.contains("triggers still record it at b: "), "{summary:#?}");
    cluster.holds_at(1, "SELECT * FROM stock", &[]).await;
}
