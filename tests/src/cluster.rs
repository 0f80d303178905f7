//! Several databases that one sync keeps in agreement, and what can be said about all of them at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use concord::config::Config;
use concord::fault::{self, Faults};
use concord::node::{self, ErrorKind, Target};
use concord::sync::{LoadOptions, Loaded, Session, Summary};

use super::user::Text;
use super::{As, Concord, Database, Kind, PATIENCE, Proxy, User, guests, wait_until};

/// The names of nodes, in the order of the file.
pub const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// Databases of given kinds with the same tables, and the configuration that syncs them.
pub struct Cluster {
    pub nodes: Vec<ClusterNode>,
    config: String,
    folder: tempfile::TempDir,
    /// Whether its file lies in the folder, beside a `concord.lock`, and names the folder of the compiled plugins.
    plugins: bool,
}

/// One database of a [`Cluster`].
pub struct ClusterNode {
    pub database: Database,
    /// An application that stays connected.
    pub user: User,
    up: Arc<AtomicBool>,
    /// As whom Concord connects.
    role: As,
    /// By which way, if not straight.
    way: Option<Proxy>,
    /// Looks at the database and never writes.
    observer: User,
}

/// Where a paused sync is let go again.
struct Gate(PathBuf);

impl Drop for Gate {
    fn drop(&mut self) {
        // Already gone if it was opened in time.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Cluster {
    /// Databases prepared by `setup`, run by their owner, with Concord installed. `tables` is the part of `concord.toml`
    /// after the nodes, such as `[tables.items]`.
    pub async fn new(kinds: &[Kind], setup: impl Fn(Kind) -> String, tables: &str) -> Cluster {
        let cluster = Cluster::bare(kinds, setup, tables).await;
        cluster.install().await;
        cluster
    }

    /// The same without installing.
    pub async fn bare(kinds: &[Kind], setup: impl Fn(Kind) -> String, tables: &str) -> Cluster {
        let mut nodes = Vec::new();
        for &kind in kinds {
            let database = Database::new(kind).await;
            database.user_as(As::Sync).await.execute(&setup(kind)).await;
            nodes.push(ClusterNode::new(database).await);
        }
        let folder = tempfile::Builder::new().prefix("concord-").tempdir().expect("a temporary folder");
        Cluster { nodes, config: tables.to_owned(), folder, plugins: false }
    }

    /// Runs a statement at each node that makes a table there.
    pub async fn create(&self, tables: &[&str]) {
        for (node, sql) in self.nodes.iter().zip(tables) {
            node.database.user_as(As::Sync).await.execute(sql).await;
        }
    }

    /// The command, in a folder of its own, with the databases' own URLs and this part after the nodes.
    pub fn command(&self, tables: &str) -> Concord {
        let mut text = "name = \"test\"\n".to_owned();
        for (name, node) in NAMES.iter().zip(&self.nodes) {
            text += &format!("[nodes.{name}]\nurl = \"{}\"\n", node.database.url());
        }
        Concord::new(&(text + tables))
    }

    /// Puts another part after the nodes into the configuration.
    pub fn configure(&mut self, tables: &str) {
        tables.clone_into(&mut self.config);
    }

    /// Puts another database in a node's place: the URL stays that of the node.
    pub async fn replace(&mut self, at: usize, database: Database) {
        self.nodes[at] = ClusterNode::new(database).await;
    }

    /// Lets Concord connect to a node as this role.
    pub fn connect_as(&mut self, at: usize, role: As) {
        self.nodes[at].role = role;
    }

    /// The way by which Concord reaches a node from now on, which can be blocked.
    pub fn way(&mut self, at: usize) -> &Proxy {
        let ClusterNode { database, way, .. } = &mut self.nodes[at];
        way.get_or_insert_with(|| Proxy::to(database))
    }

    /// Adds a database as the last node; its place.
    pub async fn add(&mut self, database: Database) -> usize {
        self.nodes.push(ClusterNode::new(database).await);
        self.nodes.len() - 1
    }

    /// Connects the node's users anew, after its database was taken away from them.
    pub async fn reconnect(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.user = node.database.user().await;
        node.observer = node.database.user_as(As::Sync).await;
    }

    /// Ends all of its own connections to the node's database, until [`Cluster::reconnect`].
    pub async fn disconnect(&mut self, at: usize) {
        let elsewhere = Database::new(Kind::Sqlite).await;
        let node = &mut self.nodes[at];
        node.user = elsewhere.user().await;
        node.observer = elsewhere.user().await;
    }

    /// Lets its tables use these plugins.
    pub fn pin(&mut self, plugins: &[&str]) {
        std::fs::write(self.file("concord.lock"), guests::lock(plugins)).expect("the folder is ours");
        self.plugins = true;
    }

    pub fn config(&self) -> Config {
        let mut text = "name = \"test\"\n".to_owned();
        let mut path = PathBuf::from("test.toml");
        if self.plugins {
            text += &format!("plugins = \"{}\"\n", guests::plugins().display());
            path = self.file("test.toml");
        }
        for (name, node) in NAMES.iter().zip(&self.nodes) {
            let url = node.way.as_ref().map_or_else(|| node.database.url_as(node.role), |way| way.url().to_owned());
            text += &format!("[nodes.{name}]\nurl = \"{url}\"\n");
        }
        text += &self.config;
        match Config::parse(&path, text, &|_| None) {
            Ok(config) => config,
            Err(error) => panic!("{error}"),
        }
    }

    /// A session of its own, as every run of the command has. It cannot connect to nodes that are away.
    pub fn session(&self) -> Session {
        let config = self.config();
        let doors: Vec<(Target, Arc<AtomicBool>)> =
            config.nodes.iter().zip(&self.nodes).map(|(node, door)| (node.target.clone(), door.up.clone())).collect();
        let connector = move |target: Target| {
            let up = doors.iter().any(|(known, up)| *known == target && up.load(Ordering::SeqCst));
            let connecting: futures::future::BoxFuture<'static, _> = Box::pin(async move {
                if !up {
                    return Err(node::Error::new(ErrorKind::Lost, "nobody answers"));
                }
                node::connect(&target).await
            });
            connecting
        };
        Session::with_connector(config, Arc::new(connector))
    }

    #[track_caller]
    pub fn install(&self) -> impl Future<Output = Vec<String>> {
        let caller = std::panic::Location::caller();
        async move {
            match self.try_install().await {
                Ok(lines) => lines,
                Err(error) => panic!("{caller}: install: {error}"),
            }
        }
    }

    /// What `install` did, or why it refused.
    pub async fn try_install(&self) -> Result<Vec<String>, String> {
        let done = self.session().install().await.map_err(|error| error.to_string())?;
        Ok(done.0.into_iter().flat_map(|node| node.done).collect())
    }

    /// From now on nobody reaches the node, though its users do.
    pub fn leave(&self, at: usize) {
        self.nodes[at].up.store(false, Ordering::SeqCst);
    }

    pub fn back(&self, at: usize) {
        self.nodes[at].up.store(true, Ordering::SeqCst);
    }

    /// Runs statements as the application of one node.
    #[track_caller]
    pub fn run(&mut self, at: usize, sql: &str) -> impl Future<Output = ()> {
        self.nodes[at].user.execute(sql)
    }

    /// The same once every clock has moved on, so that what it writes is younger than all before. SQLite counts
    /// milliseconds.
    #[track_caller]
    pub fn later(&mut self, at: usize, sql: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let start = std::time::Instant::now();
            let passed = async || (start.elapsed() >= std::time::Duration::from_millis(2)).then_some(());
            wait_until("the clock to move on", PATIENCE, passed).await;
            if let Err(error) = self.nodes[at].user.try_execute(sql).await {
                panic!("{caller}: {error}\nin: {sql}");
            }
        }
    }

    /// Syncs until nothing is left.
    #[track_caller]
    pub fn sync(&mut self) -> impl Future<Output = Summary> {
        let caller = std::panic::Location::caller();
        async move {
            match Box::pin(self.session().sync()).await {
                Ok(summary) => summary,
                Err(error) => panic!("{caller}: sync: {error}"),
            }
        }
    }

    /// Loads, and tells what came of it.
    #[track_caller]
    pub fn load(&mut self, options: &LoadOptions) -> impl Future<Output = Loaded> {
        let caller = std::panic::Location::caller();
        async move {
            match Box::pin(self.session().load(options, &mut |_| ())).await {
                Ok(loaded) => loaded,
                Err(error) => panic!("{caller}: load: {error}"),
            }
        }
    }

    /// Removes every trace of Concord from every node.
    pub async fn each_uninstalls(&self) {
        self.session().uninstall().await.unwrap_or_else(|error| panic!("uninstall: {error}"));
    }

    /// Runs statements as the owner of the tables of one node.
    pub async fn run_as_owner(&mut self, at: usize, sql: &str) {
        self.nodes[at].database.user_as(As::Sync).await.execute(sql).await;
    }

    /// Something that is another after every write to any table anywhere, by node and table.
    pub async fn imprints(&mut self) -> Vec<BTreeMap<String, String>> {
        let mut all = Vec::new();
        for node in &mut self.nodes {
            all.push(node.imprint().await);
        }
        all
    }

    /// Syncs; while it stands at its first pass of a fault point, `meanwhile` happens.
    #[track_caller]
    pub fn sync_while(
        &mut self,
        point: &str,
        meanwhile: impl AsyncFnOnce(&mut Cluster),
    ) -> impl Future<Output = Summary> {
        self.sync_around(point, meanwhile, async |_| ())
    }

    /// The same; once the sync was let go again, `afterwards` happens beside it.
    #[track_caller]
    pub fn sync_around(
        &mut self,
        point: &str,
        meanwhile: impl AsyncFnOnce(&mut Cluster),
        afterwards: impl AsyncFnOnce(&mut Cluster),
    ) -> impl Future<Output = Summary> {
        let caller = std::panic::Location::caller();
        async move {
            let mut session = self.session();
            let done = self.around(point, session.sync(), meanwhile, afterwards).await;
            done.unwrap_or_else(|error| panic!("{caller}: sync: {error}"))
        }
    }

    /// Does something of Concord's; while that stands at its first pass of a fault point (`point@3`: at its third),
    /// `meanwhile` happens.
    pub async fn during<T>(
        &mut self,
        point: &str,
        work: impl Future<Output = T>,
        meanwhile: impl AsyncFnOnce(&mut Cluster),
    ) -> T {
        self.around(point, work, meanwhile, async |_| ()).await
    }

    async fn around<T>(
        &mut self,
        point: &str,
        work: impl Future<Output = T>,
        meanwhile: impl AsyncFnOnce(&mut Cluster),
        afterwards: impl AsyncFnOnce(&mut Cluster),
    ) -> T {
        let (point, pass) = point.split_once('@').unwrap_or((point, "1"));
        let gate = Gate(self.folder.path().join(point));
        let rules = format!("{point}=pause:{}@{pass}", gate.0.display());
        let faults: Faults = rules.parse().expect("the rule is one");
        let working = Box::pin(fault::scoped(Arc::new(Mutex::new(faults)), work));
        let acting = async {
            let reached = async || gate.0.exists().then_some(());
            wait_until(&format!("Concord to reach `{point}`"), PATIENCE, reached).await;
            meanwhile(self).await;
            drop(gate);
            afterwards(self).await;
        };
        futures::join!(working, acting).0
    }

    /// Syncs and finds everything at rest: nobody away, nothing stopped, nothing waiting, all rows the same, and one more
    /// sync writes nothing.
    #[track_caller]
    pub fn settle(&mut self) -> impl Future<Output = Summary> {
        let caller = std::panic::Location::caller();
        async move {
            let summary = match Box::pin(self.session().sync()).await {
                Ok(summary) => summary,
                Err(error) => panic!("{caller}: sync: {error}"),
            };
            assert_eq!(summary.away, [], "{caller}: away");
            assert_eq!(summary.stopped, [], "{caller}: stopped");
            let parked = self.session().parked().await.expect("reading what waits");
            assert!(parked.is_empty(), "{caller}: rows wait: {parked:#?}");
            self.check_same(&caller.to_string()).await;
            self.check_echo(&caller.to_string()).await;
            summary
        }
    }

    /// One more sync writes nothing anywhere, service tables included.
    #[track_caller]
    pub fn quiet(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { self.check_echo(&caller.to_string()).await }
    }

    /// A file in a folder of the cluster's own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn check_echo(&mut self, caller: &str) {
        let before = self.imprints().await;
        let echo = Box::pin(self.session().sync()).await;
        let echo = echo.unwrap_or_else(|error| panic!("{caller}: the next sync: {error}"));
        assert_eq!(echo.nodes, [], "{caller}: the next sync carries rows");
        for ((name, node), before) in NAMES.iter().zip(&mut self.nodes).zip(before) {
            let after = node.imprint().await;
            let differs = |(table, content): &(&String, &String)| before.get(*table) != Some(*content);
            let written: Vec<_> = after.iter().filter(differs).map(|(table, _)| table).collect();
            assert!(written.is_empty(), "{caller}: the next sync writes at {name}: {written:?}");
        }
    }

    /// All rows of all tables are the same at all nodes, read by their users.
    #[track_caller]
    pub fn same(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { self.check_same(&caller.to_string()).await }
    }

    async fn check_same(&mut self, caller: &str) {
        for table in self.config().tables {
            let mut first: Option<Vec<Vec<Text>>> = None;
            for (at, node) in self.nodes.iter_mut().enumerate() {
                let mut rows = node.observer.rows(&format!("SELECT * FROM {}", table.nodes[at].table)).await;
                rows.sort();
                match &first {
                    None => first = Some(rows),
                    Some(first) => {
                        if *first == rows {
                            continue;
                        }
                        let missing: Vec<_> = first.iter().filter(|row| !rows.contains(row)).take(5).collect();
                        let extra: Vec<_> = rows.iter().filter(|row| !first.contains(row)).take(5).collect();
                        panic!(
                            "{caller}: `{}` at {} has {} rows and at a {}; among others\nmissing: {missing:?}\nsurplus: {extra:?}",
                            table.name,
                            NAMES[at],
                            rows.len(),
                            first.len()
                        );
                    }
                }
            }
        }
    }

    /// The rows of a query at one node, each as its cells joined by `|`.
    #[track_caller]
    pub fn rows(&mut self, at: usize, sql: &str) -> impl Future<Output = Vec<String>> {
        let rows = self.nodes[at].observer.rows(sql);
        async move { rows.await.into_iter().map(joined).collect() }
    }

    /// A query has these rows at one node.
    #[track_caller]
    pub fn holds_at(&mut self, at: usize, sql: &str, expected: &[&str]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let rows = self.rows(at, sql).await;
            assert!(rows == expected, "{caller}: at {}: {rows:?} instead of {expected:?}", NAMES[at]);
        }
    }

    /// A query has these rows at every node.
    #[track_caller]
    pub fn holds(&mut self, sql: &str, expected: &[&str]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            for (at, name) in NAMES.iter().enumerate().take(self.nodes.len()) {
                let rows = self.rows(at, sql).await;
                assert!(rows == expected, "{caller}: at {name}: {rows:?} instead of {expected:?}");
            }
        }
    }

    /// Rows that wait, as `node table key code`, in that order.
    pub async fn waiting(&self) -> Vec<String> {
        let parked = self.session().parked().await.unwrap_or_else(|error| panic!("reading what waits: {error}"));
        let mut lines: Vec<String> =
            parked.iter().map(|row| format!("{} {} {} {}", row.node, row.table, row.key, row.code)).collect();
        lines.sort();
        lines
    }

    /// The reasons of rows that wait at a node.
    pub async fn reasons(&self, node: &str) -> Vec<String> {
        let parked = self.session().parked().await.unwrap_or_else(|error| panic!("reading what waits: {error}"));
        parked.into_iter().filter(|row| row.node == node).map(|row| row.message).collect()
    }
}

impl ClusterNode {
    async fn new(database: Database) -> ClusterNode {
        let (user, observer) = (database.user().await, database.user_as(As::Sync).await);
        ClusterNode { database, user, up: Arc::new(AtomicBool::new(true)), role: As::Sync, way: None, observer }
    }

    /// Something that is another after every write to any table, by table.
    async fn imprint(&mut self) -> BTreeMap<String, String> {
        let sql = match self.database.kind() {
            Kind::Sqlite => "SELECT 'something', data_version FROM pragma_data_version".to_owned(),
            Kind::Mariadb => return self.imprint_of_mariadb().await,
            Kind::Postgres => {
                let tables = self
                    .observer
                    .rows(
                        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_class c
                         JOIN pg_namespace n ON n.oid = c.relnamespace
                         WHERE c.relkind = 'r' AND n.nspname IN ('public', 'concord', 'history_store')",
                    )
                    .await;
                let of_table = |row: Vec<Text>| {
                    let name = row.into_iter().next().flatten().expect("tables have names");
                    format!(
                        "SELECT '{name}', md5(coalesce(string_agg(format('%s %s', ctid, xmin), ',' ORDER BY ctid), '')) FROM {name}"
                    )
                };
                tables.into_iter().map(of_table).collect::<Vec<_>>().join(" UNION ALL ")
            }
        };
        let rows = self.observer.rows(&sql).await;
        rows.into_iter().map(|mut row| (row.remove(0).unwrap_or_default(), row.remove(0).unwrap_or_default())).collect()
    }
}

impl ClusterNode {
    /// What reading does is left out: it gives entries their marks, so that they can be told apart from those to come.
    async fn imprint_of_mariadb(&mut self) -> BTreeMap<String, String> {
        let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = database()";
        let mut imprint = BTreeMap::new();
        for name in self.observer.rows(tables).await.into_iter().flatten().flatten() {
            let table = format!("`{}`", name.replace('`', "``"));
            let sum = match name.as_str() {
                "concord_mark" | "concord_marked" | "concord_sample" => continue,
                name if name.starts_with("history_store_") => format!(
                    "SELECT concat_ws(' ', count(*), sum(id), sum(crc32(concat_ws(' ', id, op, time, origin, vector)))) FROM {table}"
                ),
                _ => format!("CHECKSUM TABLE {table}"),
            };
            imprint.insert(name, format!("{:?}", self.observer.rows(&sum).await));
        }
        imprint
    }
}

fn joined(row: Vec<Text>) -> String {
    row.into_iter().map(|cell| cell.unwrap_or_else(|| "NULL".to_owned())).collect::<Vec<_>>().join("|")
}

/// Makes tests of cases, which are async functions `fn(&[Kind])`: those under `pairs` for two nodes of like and of unlike
/// kinds, those under `standard` for those that speak standard SQL, those under `many` for three and for five, those under
/// `all` for every cluster. Names are such as `sync_basic::changes::postgres_sqlite::inserts`. A list of its own, `mariadb`, names
/// those that run for more pairs with MariaDB, and its `many` those that run for three and five nodes with MariaDB among them.
#[macro_export]
macro_rules! clusters {
    (pairs: $pairs:tt many: $many:tt all: $all:tt) => {
        $crate::clusters!(pairs: $pairs standard: [] many: $many all: $all);
    };
    (pairs: $pairs:tt standard: $standard:tt many: $many:tt all: $all:tt) => {
        $crate::clusters!(@each sqlite_sqlite, [Sqlite, Sqlite], $pairs, $standard, $all);
        $crate::clusters!(@each postgres_postgres, [Postgres, Postgres], $pairs, $standard, $all);
        $crate::clusters!(@each postgres_sqlite, [Postgres, Sqlite], $pairs, $standard, $all);
        $crate::clusters!(@each postgres_mariadb, [Postgres, Mariadb], $pairs, [], $all);
        $crate::clusters!(@each mariadb_sqlite, [Mariadb, Sqlite], [], [], $all);
        $crate::clusters!(@each three, [Postgres, Sqlite, Postgres], $many, [], $all);
        $crate::clusters!(@each five, [Sqlite, Postgres, Sqlite, Postgres, Sqlite], $many, [], $all);
    };
    (mariadb: $pairs:tt) => {
        $crate::clusters!(mariadb: $pairs many: []);
    };
    (mariadb: $pairs:tt many: $many:tt) => {
        $crate::clusters!(@each mariadb_mariadb, [Mariadb, Mariadb], $pairs, [], []);
        $crate::clusters!(@each sqlite_mariadb, [Sqlite, Mariadb], $pairs, [], []);
        $crate::clusters!(@each three_with_mariadb, [Postgres, Mariadb, Sqlite], $many, [], []);
        $crate::clusters!(@each five_with_mariadb, [Sqlite, Mariadb, Postgres, Sqlite, Mariadb], $many, [], []);
    };
    (@each $module:ident, [$($kind:ident),*], [], [], []) => {};
    (
        @each $module:ident, [$($kind:ident),*],
        [$($own:ident),* $(,)?], [$($standard:ident),* $(,)?], [$($all:ident),* $(,)?]
    ) => {
        mod $module {
            const KINDS: &[$crate::Kind] = &[$($crate::Kind::$kind),*];
            $(#[tokio::test] async fn $own() { Box::pin(super::$own(KINDS)).await })*
            $(#[tokio::test] async fn $standard() { Box::pin(super::$standard(KINDS)).await })*
            $(#[tokio::test] async fn $all() { Box::pin(super::$all(KINDS)).await })*
        }
    };
}
