//! A sync of several databases with two tables, what users acknowledged in them, and what must be true in the end.
//!
//! `counters` adds up what every node did, so a change that is lost or applied twice shows in the number. `notes` keeps
//! the latest; every value is written once in a test, so the value that is left tells which write won.

use std::collections::{BTreeMap, BTreeSet};

use concord_tests::{As, Concord, Database, Kind, Rng, Text, User, guests};

pub const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Counters and notes have the keys 1 to this.
pub const KEYS: u64 = 6;

/// Databases with the command that syncs them.
pub struct Scene {
    pub databases: Vec<Database>,
    pub concord: Concord,
    /// One connection of an application's to each database.
    pub users: Vec<User>,
    /// Looks at everything, service tables included.
    observers: Vec<User>,
    pub done: Done,
}

/// What the users of each node did, acknowledged by the database.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// By key of `counters`: what was added anywhere.
    pub added: BTreeMap<u64, i64>,
    /// By node and key of `notes`: what was written last, `None` for a delete.
    pub last: BTreeMap<(usize, u64), Text>,
}

impl Done {
    /// What `counters` must hold.
    pub fn counters(&self) -> Vec<Vec<Text>> {
        let value = |key| (100 + self.added.get(&key).unwrap_or(&0)).to_string();
        (1..=KEYS).map(|key| vec![Some(key.to_string()), Some(value(key))]).collect()
    }

    pub fn merge(&mut self, other: Done) {
        for (key, by) in other.added {
            *self.added.entry(key).or_default() += by;
        }
        self.last.extend(other.last);
    }
}

/// How conflicts of counters are decided.
const SUM: &str = "{ sum = [\"value\"] }";

/// The tables with their first rows.
pub fn tables() -> String {
    format!(
        "CREATE TABLE counters (id bigint PRIMARY KEY, value bigint NOT NULL);
         CREATE TABLE notes (id bigint PRIMARY KEY, body text NOT NULL);
         {}",
        rows()
    )
}

/// All counters and every second note.
fn rows() -> String {
    let counters: Vec<String> = (1..=KEYS).map(|key| format!("({key}, 100)")).collect();
    let notes: Vec<String> = (1..=KEYS).step_by(2).map(|key| format!("({key}, 'first {key}')")).collect();
    format!("INSERT INTO counters VALUES {}; INSERT INTO notes VALUES {}", counters.join(", "), notes.join(", "))
}

/// A `concord.toml` for these nodes. `batch` is how many changes go into one cycle.
pub fn config(urls: &[String], batch: usize) -> String {
    let mut text = format!("name = \"scene\"\n[defaults]\nbatch = {batch}\n");
    for (name, url) in NAMES.iter().zip(urls) {
        text += &format!("[nodes.{name}]\nurl = \"{url}\"\n");
    }
    text + &format!("[tables.counters]\nconflict = {SUM}\n[tables.notes]\n")
}

impl Scene {
    /// Fresh databases of these kinds, installed.
    pub async fn new(kinds: &[Kind], batch: usize) -> Scene {
        let scene = Scene::bare(kinds, batch).await;
        scene.concord.run(&["install"]).await.ok();
        scene
    }

    /// The same, but it is a plugin that adds up what the counters gain.
    pub async fn with_plugin(kinds: &[Kind], batch: usize) -> Scene {
        let mut scene = Scene::bare(kinds, batch).await;
        let file = scene.concord.path("concord.toml");
        let text = std::fs::read_to_string(file).expect("the file was written");
        let text = text.replace(SUM, "{ plugin = \"merge-fields\", fields = { value = \"sum\" } }");
        assert!(text.contains("merge-fields"), "{text}");
        scene.concord.write("concord.toml", &format!("plugins = \"{}\"\n{text}", guests::plugins().display()));
        scene.concord.write("concord.lock", &guests::lock(&["merge-fields"]));
        scene.concord.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
        scene.concord.run(&["install"]).await.ok();
        scene
    }

    /// Fresh databases of these kinds, with the tables and without Concord.
    pub async fn bare(kinds: &[Kind], batch: usize) -> Scene {
        let mut databases = Vec::new();
        for &kind in kinds {
            databases.push(Database::new(kind).await);
        }
        Scene::over(databases, batch).await
    }

    /// The same over databases that the test made.
    pub async fn over(databases: Vec<Database>, batch: usize) -> Scene {
        for database in &databases {
            database.user_as(As::Sync).await.execute(&tables()).await;
        }
        // By environment variables, so that a test can let a node vanish.
        let urls: Vec<String> = NAMES[..databases.len()].iter().map(|name| format!("${{NODE_{name}}}")).collect();
        let mut concord = Concord::new(&config(&urls, batch));
        for (name, database) in NAMES.iter().zip(&databases) {
            concord.env(&format!("NODE_{name}"), &database.url());
        }
        let mut scene = Scene { databases, concord, users: Vec::new(), observers: Vec::new(), done: Done::default() };
        scene.connect().await;
        scene
    }

    /// Ends every connection: SQLite changes the mode of a file only when nobody else has it open.
    pub fn disconnect(&mut self) {
        self.users.clear();
        self.observers.clear();
    }

    /// Connects everybody anew, as after a server's restart.
    pub async fn connect(&mut self) {
        self.disconnect();
        for database in &self.databases {
            self.users.push(database.user().await);
            self.observers.push(database.user_as(As::Sync).await);
        }
    }

    /// Where a node is, or a place of its kind where nobody is.
    pub fn url(&self, at: usize, there: bool) -> String {
        match self.databases[at].kind() {
            _ if there => self.databases[at].url(),
            Kind::Sqlite => format!("sqlite:/nowhere/{}.db", NAMES[at]),
            // Nobody listens there.
            Kind::Mariadb => format!("mariadb://sync:x@127.0.0.1:1/{}", NAMES[at]),
            Kind::Postgres => format!("postgres://sync:x@127.0.0.1:1/{}", NAMES[at]),
        }
    }

    /// Lets a node vanish for the commands started from now on, or come back.
    pub fn reach(&mut self, at: usize, there: bool) {
        let url = self.url(at, there);
        self.concord.env(&format!("NODE_{}", NAMES[at]), &url);
    }

    /// Writes at one node, at random.
    pub async fn write(&mut self, at: usize, rng: &mut Rng) {
        write(&mut self.users[at], at, rng, &mut self.done).await;
    }

    /// Changes at every node to all keys, more than one batch holds.
    pub async fn write_everywhere(&mut self, rng: &mut Rng) {
        for at in 0..self.users.len() {
            for key in 1..=KEYS {
                add(&mut self.users[at], key, 1 + rng.below(9) as i64, &mut self.done).await;
                put(&mut self.users[at], at, key, rng, &mut self.done).await;
            }
            for _ in 0..KEYS {
                self.write(at, rng).await;
            }
        }
    }

    /// What a table holds at each node.
    pub async fn content(&mut self, table: &str) -> Vec<Vec<Vec<Text>>> {
        let mut all = Vec::new();
        for observer in &mut self.observers {
            all.push(observer.rows(&format!("SELECT * FROM {table} ORDER BY id")).await);
        }
        all
    }

    /// Everything that must be true once a sync has run with everybody there and nobody writing.
    pub async fn settled(&mut self, when: &str) {
        let counters = self.content("counters").await;
        let expected = self.done.counters();
        for (at, rows) in counters.iter().enumerate() {
            assert_eq!(*rows, expected, "{when}: the counters of {}; every change counts once", NAMES[at]);
        }
        let notes = self.content("notes").await;
        for (at, rows) in notes.iter().enumerate() {
            assert_eq!(*rows, notes[0], "{when}: the notes of {} and of {}", NAMES[at], NAMES[0]);
        }
        for key in 1..=KEYS {
            let text = key.to_string();
            let left: Text = notes[0].iter().find(|row| row[0].as_ref() == Some(&text)).and_then(|row| row[1].clone());
            // What a node wrote later has seen what it wrote before, so only a node's last write can be left.
            let mut last: BTreeSet<Text> = self
                .done
                .last
                .iter()
                .filter(|((_, written), _)| *written == key)
                .map(|(_, body)| body.clone())
                .collect();
            if last.is_empty() {
                last.insert((key % 2 == 1).then(|| format!("first {key}")));
            }
            assert!(last.contains(&left), "{when}: note {key} is {left:?}; the last writes are {last:?}");
        }
        for (at, name) in NAMES.iter().enumerate().take(self.databases.len()) {
            let left = self.left(at).await;
            assert_eq!(left, [] as [String; 0], "{when}: {name} keeps what every node has passed");
        }
    }

    /// Runs a sync that must find everybody there, checks what must be true, and that a further sync writes nothing.
    pub async fn converges(&mut self, when: &str) {
        self.concord.faults("");
        self.concord.run(&["sync"]).await.ok();
        self.settled(when).await;
        self.rests(when).await;
    }

    /// A sync with nothing to do writes nothing.
    pub async fn rests(&mut self, when: &str) {
        let before = self.state().await;
        let output = self.concord.run(&["sync", "--json"]).await.ok();
        assert_eq!(output.json()["nodes"], serde_json::json!([]), "{when}: rows were carried at rest");
        assert_eq!(self.state().await, before, "{when}: a sync at rest wrote something");
    }

    /// Histories and waiting rows that are not empty at one node.
    async fn left(&mut self, at: usize) -> Vec<String> {
        let observer = &mut self.observers[at];
        let tables = match self.databases[at].kind() {
            Kind::Sqlite => {
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND (name LIKE 'history_store_%' OR name = 'concord_parked')"
            }
            Kind::Mariadb => {
                "SELECT table_name FROM information_schema.tables WHERE table_schema = database()
                 AND (left(table_name, 14) = 'history_store_' OR table_name = 'concord_parked')"
            }
            Kind::Postgres => {
                "SELECT schemaname || '.' || tablename FROM pg_tables
                 WHERE schemaname = 'history_store' OR tablename = 'parked' AND schemaname = 'concord'"
            }
        };
        let tables: Vec<String> = observer.rows(tables).await.into_iter().filter_map(|mut row| row.remove(0)).collect();
        assert_eq!(tables.len(), 3, "the histories of both tables and the waiting rows: {tables:?}");
        let mut left = Vec::new();
        for table in tables {
            // SQLite keeps a mark of how far the numbers of a history have come; it tells of no change.
            let changes = if table.starts_with("history_store_") { "WHERE op <> '-'" } else { "" };
            for row in observer.rows(&format!("SELECT * FROM {table} {changes}")).await {
                left.push(format!("{table}: {row:?}"));
            }
        }
        left
    }

    /// Gives every table its first content again at every node.
    pub async fn make_alike(&mut self) {
        for user in &mut self.users {
            user.execute(&format!("DELETE FROM counters; DELETE FROM notes; {}", rows())).await;
        }
        self.done = Done::default();
    }

    /// Everything that a database holds besides rows: tables, triggers, functions, rights, the journal mode.
    pub async fn schemas(&mut self) -> Vec<Vec<Vec<Text>>> {
        let mut all = Vec::new();
        for (database, observer) in self.databases.iter().zip(&mut self.observers) {
            let schema = match database.kind() {
                // SQLite keeps its own table of sequences once it had one.
                Kind::Sqlite => {
                    "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name <> 'sqlite_sequence'
                     UNION ALL SELECT 'mode', journal_mode, NULL, NULL FROM pragma_journal_mode ORDER BY 1, 2"
                }
                Kind::Mariadb => {
                    "SELECT 'table', table_name, engine FROM information_schema.tables WHERE table_schema = database()
                     UNION ALL SELECT 'trigger', trigger_name, action_statement FROM information_schema.triggers
                               WHERE trigger_schema = database() ORDER BY 1, 2"
                }
                Kind::Postgres => {
                    "SELECT 'schema', nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_'
                     UNION ALL SELECT 'relation', relnamespace::regnamespace || '.' || relname, concat(relkind, relacl)
                               FROM pg_class WHERE relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
                     UNION ALL SELECT 'function', oid::regprocedure::text, prosrc
                               FROM pg_proc WHERE pronamespace::regnamespace::text !~ '^(pg_|information_schema)'
                     UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger
                     UNION ALL SELECT 'event', evtname, NULL FROM pg_event_trigger
                     UNION ALL SELECT 'type', oid::regtype::text, NULL
                               FROM pg_type WHERE typnamespace::regnamespace::text !~ '^(pg_|information_schema)'
                     UNION ALL SELECT 'default', defaclnamespace::text, defaclacl::text FROM pg_default_acl
                     ORDER BY 1, 2, 3"
                }
            };
            all.push(observer.rows(schema).await);
        }
        all
    }

    /// Something that changes with every write to a database, whatever it is.
    pub async fn state(&mut self) -> Vec<String> {
        let mut state = Vec::new();
        for (database, observer) in self.databases.iter().zip(&mut self.observers) {
            state.push(match database.kind() {
                // Changes when another connection commits a change.
                Kind::Sqlite => observer.cell("PRAGMA data_version").await,
                Kind::Mariadb => {
                    let tables = "SELECT group_concat('`' || table_name || '`' ORDER BY table_name SEPARATOR ', ')
                                  FROM information_schema.tables WHERE table_schema = database()";
                    let tables = observer.cell(tables).await;
                    format!("{:?}", observer.rows(&format!("CHECKSUM TABLE {tables}")).await)
                }
                Kind::Postgres => {
                    let versions = "SELECT count(*), string_agg(xmin::text || ctid::text, '' '') FROM %I.%I";
                    let tables = format!(
                        "SELECT string_agg(relname || query_to_xml(format('{versions}', nspname, relname), false, true, '')::text, ' ')
                         FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                         WHERE nspname IN ('public', 'concord', 'history_store') AND relkind = 'r'"
                    );
                    observer.cell(&tables).await
                }
            });
        }
        state
    }
}

/// Adds to a counter.
pub async fn add(user: &mut User, key: u64, by: i64, done: &mut Done) {
    user.execute(&format!("UPDATE counters SET value = value + {by} WHERE id = {key}")).await;
    *done.added.entry(key).or_default() += by;
}

/// Writes a note that was never written before.
pub async fn put(user: &mut User, at: usize, key: u64, rng: &mut Rng, done: &mut Done) {
    let body = format!("{} {:016x}", NAMES[at], rng.next());
    let known = match user {
        User::Mariadb(..) => "ON DUPLICATE KEY UPDATE body = VALUES(body)",
        User::Sqlite(_) | User::Postgres(_) => "ON CONFLICT (id) DO UPDATE SET body = excluded.body",
    };
    let upsert = format!("INSERT INTO notes VALUES ({key}, '{body}') {known}");
    user.execute(&upsert).await;
    done.last.insert((at, key), Some(body));
}

/// Deletes a note; whether it was there.
async fn remove(user: &mut User, key: u64) -> bool {
    if user.is_mysql() {
        // It tells nothing of what it deletes.
        user.execute(&format!("DELETE FROM notes WHERE id = {key}; SET @gone = ROW_COUNT()")).await;
        return user.cell("SELECT @gone").await == "1";
    }
    !user.rows(&format!("DELETE FROM notes WHERE id = {key} RETURNING id")).await.is_empty()
}

/// One random change by a user of the node at this place.
pub async fn write(user: &mut User, at: usize, rng: &mut Rng, done: &mut Done) {
    let key = 1 + rng.below(KEYS);
    match rng.below(10) {
        0..5 => add(user, key, 1 + rng.below(9) as i64, done).await,
        5..8 => put(user, at, key, rng, done).await,
        _ => {
            if remove(user, key).await {
                done.last.insert((at, key), None);
            }
        }
    }
}
