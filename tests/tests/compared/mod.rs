//! Tables that are kept in step by comparison, where nobody may create triggers.

mod commands;
mod meanwhile;
mod mixed;
mod one_way;
mod others;
mod recorded;
mod restored;
mod rights;
mod two_way;

use std::sync::Arc;
use std::time::Duration;

use concord::error::Result;
use concord::sync::{Cycle, Summary, VerifiedTable};
use concord_tests::{As, Cluster, Kind, PATIENCE, wait_until};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const PAIRS: [&[Kind]; 6] = [
    &[Kind::Sqlite, Kind::Sqlite],
    &[Kind::Sqlite, Kind::Postgres],
    &[Kind::Postgres, Kind::Sqlite],
    &[Kind::Postgres, Kind::Mariadb],
    &[Kind::Mariadb, Kind::Mariadb],
    &[Kind::Mariadb, Kind::Sqlite],
];

const ALL: &str = "SELECT * FROM t ORDER BY id";

const ONE_WAY: &str = "[tables.t]\nmode = \"compare\"\nfrom = \"a\"\n";

const TWO_WAY: &str = "[tables.t]\nmode = \"compare\"\nupdated = \"at\"\noperations = [\"insert\", \"update\"]\n";

fn table(_: Kind) -> String {
    "CREATE TABLE t (id bigint PRIMARY KEY, name text, at bigint)".to_owned()
}

/// The only table that was compared.
fn compared(summary: &Summary) -> &VerifiedTable {
    match summary.compared.as_slice() {
        [table] => table,
        other => panic!("{other:?}"),
    }
}

/// Rows written and deleted at each node.
fn carried(summary: &Summary) -> Vec<(String, u64, u64)> {
    let nodes = summary.nodes.iter().map(|node| (node.node.clone(), node.written, node.deleted));
    let mut nodes: Vec<_> = nodes.collect();
    nodes.sort();
    nodes
}

/// A sync leaves nothing to do: all rows are alike everywhere, and one more sync writes nothing.
#[track_caller]
fn settle(cluster: &mut Cluster) -> impl Future<Output = Summary> {
    let caller = std::panic::Location::caller();
    async move {
        let summary = cluster.sync().await;
        assert_eq!(summary.exit_code(), 0, "{caller}: {summary:#?}");
        cluster.same().await;
        cluster.quiet().await;
        summary
    }
}

/// What of Concord's is in a database; of triggers, behind the name of their table.
async fn traces(cluster: &mut Cluster, at: usize) -> Vec<String> {
    let sql = match cluster.nodes[at].database.kind() {
        Kind::Sqlite => {
            "SELECT tbl_name || '.' || name FROM sqlite_schema
             WHERE name LIKE '%concord%' OR name LIKE 'history_store%' ORDER BY 1"
        }
        Kind::Mariadb => {
            "SELECT table_name FROM information_schema.tables WHERE table_schema = database() AND (table_name LIKE '%concord%'
                OR table_name LIKE 'history_store%')
             UNION ALL SELECT CONCAT(event_object_table, '.', trigger_name) FROM information_schema.triggers WHERE trigger_schema = database() ORDER BY 1"
        }
        Kind::Postgres => {
            "SELECT nspname FROM pg_namespace WHERE nspname IN ('concord', 'history_store')
             UNION ALL SELECT relname || '.' || tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
                WHERE NOT tgisinternal ORDER BY 1"
        }
    };
    let mut owner = cluster.nodes[at].database.user_as(As::Sync).await;
    owner.rows(sql).await.into_iter().filter_map(|mut row| row.remove(0)).collect()
}

/// A watch that runs beside the test.
struct Watch {
    stop: Arc<Notify>,
    running: JoinHandle<Result<()>>,
}

impl Watch {
    fn new(cluster: &Cluster, report: impl FnMut(&Cycle) + Send + 'static) -> Watch {
        let mut session = cluster.session();
        let stop = Arc::new(Notify::new());
        let heard = stop.clone();
        let running = tokio::spawn(async move {
            session.watch(Duration::from_millis(20), async move { heard.notified().await }, report).await
        });
        Watch { stop, running }
    }

    /// Ends it, which it has not done by itself.
    async fn ends(self) {
        assert!(!self.running.is_finished());
        self.stop.notify_one();
        wait_until("the watch to end", PATIENCE, async || self.running.is_finished().then_some(())).await;
        self.running.await.expect("it does not panic").expect("it ends well");
    }
}
