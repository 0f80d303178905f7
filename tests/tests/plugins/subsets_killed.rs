//! The engine is killed again and again while rows move between nodes that hold a part of them, whose tables may have another shape:
//! in the end each node holds what belongs there, and nothing that was written has gone silently.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use concord_tests::{As, Concord, Database, Kind, NAMES, POINTS, Rng, Seed, Text, User, guests};

const KINDS: [Kind; 3] = [Kind::Sqlite, Kind::Postgres, Kind::Mariadb];

/// Few enough that users meet.
const KEYS: u64 = 6;

/// How often everything is brought to rest, and how often the engine is killed before.
const RESTS: u64 = 4;
const KILLS: u64 = 6;

/// What belongs at a node begins with one of these letters.
const FILTERS: [&str; 3] = ["ax", "bx", "cx"];

/// A note, of which no other is the same, and whether what became of it is known to somebody who had it.
struct Written {
    note: String,
    over: bool,
}

struct Scene {
    concord: Concord,
    /// Gone with their values.
    _databases: Vec<Database>,
    users: Vec<User>,
    observers: Vec<User>,
    /// The node that holds all rows.
    whole: usize,
    /// Whether a plugin maps where a note is kept in two columns, which is at every node but that one.
    mapped: bool,
    written: Vec<Written>,
    /// By key: what stood when everything was at rest.
    rested: BTreeMap<u64, String>,
    /// By node and key: what may be left of what its users did since.
    last: BTreeMap<(usize, u64), BTreeSet<Text>>,
    /// The same, before a row was made there where none stood: if it goes again, it may have been nothing to the others.
    before: BTreeMap<(usize, u64), BTreeSet<Text>>,
}

impl Scene {
    async fn new(whole: usize, mapped: bool) -> Scene {
        let mut text =
            format!("name = \"subsets\"\nplugins = \"{}\"\n[defaults]\nbatch = 3\n", guests::plugins().display());
        let (mut databases, mut users, mut observers) = (Vec::new(), Vec::new(), Vec::new());
        let mut filters = "[tables.items]\n".to_owned();
        for (at, kind) in KINDS.into_iter().enumerate() {
            let database = Database::new(kind).await;
            let mut owner = database.user_as(As::Sync).await;
            owner.execute("CREATE TABLE items (id bigint PRIMARY KEY, note varchar(40) NOT NULL)").await;
            owner
                .execute(
                    "CREATE TABLE ware (own varchar(9), nr bigint PRIMARY KEY, second varchar(40), first varchar(40))",
                )
                .await;
            text += &format!("[nodes.{}]\nurl = \"{}\"\n", NAMES[at], database.url());
            if at != whole {
                let attack = format!("begins-{}", FILTERS[at]);
                filters += &format!(
                    "[tables.items.nodes.{}]\nfilter = {{ plugin = \"hostile\", attack = \"{attack}\" }}\n",
                    NAMES[at]
                );
                if mapped {
                    filters += "table = \"ware\"\ncolumns = { id = \"nr\" }\n\
                                mapping = { plugin = \"full-name\", name = \"note\", first = \"first\", last = \"second\", own = [\"own\"] }\n";
                }
            }
            users.push(database.user().await);
            observers.push(owner);
            databases.push(database);
        }
        let mut concord = Concord::new(&(text + &filters));
        concord.write("concord.lock", &guests::lock(&["hostile", "full-name"]));
        concord.env("CONCORD_CACHE_DIR", &guests::cache().display().to_string());
        concord.run(&["install"]).await.ok();
        let (rested, last, before) = Default::default();
        Scene {
            concord,
            _databases: databases,
            users,
            observers,
            whole,
            mapped,
            written: Vec::new(),
            rested,
            last,
            before,
        }
    }

    /// Whether a node keeps its notes in two columns.
    fn is_mapped(&self, at: usize) -> bool {
        self.mapped && at != self.whole
    }

    /// What to read there: keys and notes, the latter perhaps in two columns.
    fn reading(&self, at: usize) -> &'static str {
        if self.is_mapped(at) { "SELECT nr, first, second FROM ware" } else { "SELECT id, note FROM items" }
    }

    /// A user of a node makes, changes or deletes a row, or deletes it and makes it anew.
    async fn write(&mut self, at: usize, rng: &mut Rng) {
        let key = 1 + rng.below(KEYS);
        let is_mapped = self.is_mapped(at);
        let (table, id) = if is_mapped { ("ware", "nr") } else { ("items", "id") };
        let reading = format!("{} WHERE {id} = {key}", self.reading(at));
        let stands = self.users[at].rows(&reading).await;
        let stands = stands.into_iter().next().and_then(whole_row).map(|(_, note)| note);
        let sort = *rng.pick(&["a", "b", "c", "x", "n"]);
        let note = format!("{sort}{} of {}", self.written.len(), NAMES[at]);
        let delete = format!("DELETE FROM {table} WHERE {id} = {key}");
        let (insert, update) = match note.rsplit_once(' ') {
            Some((first, second)) if is_mapped => (
                format!("INSERT INTO ware VALUES ('own', {key}, '{second}', '{first}')"),
                format!("UPDATE ware SET first = '{first}', second = '{second}' WHERE nr = {key}"),
            ),
            _ => (
                format!("INSERT INTO items VALUES ({key}, '{note}')"),
                format!("UPDATE items SET note = '{note}' WHERE id = {key}"),
            ),
        };
        let what = rng.below(10);
        let (sql, left) = match &stands {
            Some(_) if what < 3 => (delete, None),
            Some(_) if what < 5 => (format!("{delete}; {insert}"), Some(note)),
            Some(_) => (update, Some(note)),
            None if what < 7 => (insert, Some(note)),
            None => return,
        };
        self.users[at].execute(&sql).await;
        if std::env::var("CONCORD_TRACE").is_ok() {
            eprintln!("{} over {stands:?}: {sql}", NAMES[at]);
        }
        self.written
            .iter_mut()
            .filter(|written| stands.as_ref() == Some(&written.note))
            .for_each(|one| one.over = true);
        self.written.extend(left.clone().map(|note| Written { note, over: false }));
        let place = (at, key);
        let known =
            || self.last.get(&place).cloned().unwrap_or_else(|| BTreeSet::from([self.rested.get(&key).cloned()]));
        let mut may_be = BTreeSet::from([left.clone()]);
        match left {
            None => may_be.extend(self.before.remove(&place).unwrap_or_default()),
            Some(_) if stands.is_none() => drop(self.before.insert(place, known())),
            Some(_) => {}
        }
        self.last.insert(place, may_be);
    }

    async fn rows(&mut self, at: usize) -> BTreeMap<u64, String> {
        let reading = self.reading(at);
        self.observers[at].rows(reading).await.into_iter().filter_map(whole_row).collect()
    }

    /// Brings everything to rest, and checks what must be true then.
    async fn rest(&mut self, when: &str) {
        self.concord.faults("");
        self.concord.run(&["sync"]).await.ok();
        let whole = self.rows(self.whole).await;
        let parts = (0..KINDS.len()).filter(|at| *at != self.whole).collect::<Vec<_>>();
        for at in parts {
            let belongs = whole.iter().filter(|(_, note)| note.starts_with(|first| FILTERS[at].contains(first)));
            let belongs: BTreeMap<u64, String> = belongs.map(|(key, note)| (*key, note.clone())).collect();
            assert_eq!(self.rows(at).await, belongs, "{when}: what belongs at {}", NAMES[at]);
        }
        for key in 1..=KEYS {
            let of_key = self.last.iter().filter(|((_, of), _)| *of == key);
            let mut left: BTreeSet<Text> = of_key.flat_map(|(_, left)| left.clone()).collect();
            if left.is_empty() {
                left.insert(self.rested.get(&key).cloned());
            }
            assert!(
                left.contains(&whole.get(&key).cloned()),
                "{when}: {key} is {:?} and not of {left:?}",
                whole.get(&key)
            );
        }
        let journal = self.concord.run(&["conflicts", "list", "--limit", "100000", "--json"]).await.ok().stdout;
        let is_there =
            |note: &String| whole.values().any(|stands| stands == note) || journal.contains(&format!("\"{note}\""));
        let gone: Vec<&String> =
            self.written.iter().filter(|one| !one.over && !is_there(&one.note)).map(|one| &one.note).collect();
        assert!(gone.is_empty(), "{when}: {gone:?} went silently");
        let echo = self.concord.run(&["sync", "--json"]).await.ok().json();
        assert_eq!(echo["nodes"], serde_json::json!([]), "{when}: rows were carried at rest");
        self.concord.run(&["verify"]).await.ok();
        self.written.retain(|one| whole.values().any(|stands| *stands == one.note));
        (self.rested, self.last, self.before) = (whole, BTreeMap::new(), BTreeMap::new());
    }
}

/// A key and a note, which may stand in several columns.
fn whole_row(mut row: Vec<Text>) -> Option<(u64, String)> {
    let note: Option<Vec<String>> = row.split_off(1).into_iter().collect();
    Some((row[0].as_deref()?.parse().ok()?, note?.join(" ")))
}

#[tokio::test]
async fn each_node_ends_with_what_belongs_there() {
    killed("plugins::subsets_killed::each_node_ends_with_what_belongs_there", false).await;
}

#[tokio::test]
async fn each_node_of_another_shape_ends_with_what_belongs_there() {
    killed("plugins::subsets_killed::each_node_of_another_shape_ends_with_what_belongs_there", true).await;
}

async fn killed(test: &'static str, mapped: bool) {
    let seed = Seed::new(test);
    let mut rng = seed.rng(0);
    let mut scene = Scene::new(rng.below(KINDS.len() as u64) as usize, mapped).await;
    let whole = NAMES[scene.whole];
    let mut dead = 0;
    for rest in 0..RESTS {
        for _ in 0..KILLS {
            for _ in 0..2 + rng.below(8) {
                let at = rng.below(KINDS.len() as u64) as usize;
                scene.write(at, &mut rng).await;
            }
            let output = if rng.chance(70) {
                let point = format!("{}=abort@{}", rng.pick(&POINTS), 1 + rng.below(6));
                scene.concord.faults(&point).run(&["sync"]).await
            } else {
                let running = scene.concord.faults("").start(&["sync"]);
                // The moment is what is random here; nothing is waited for.
                tokio::time::sleep(Duration::from_micros(rng.below(250_000))).await;
                running.kill().await
            };
            dead += u64::from(output.status.signal().is_some());
        }
        scene.rest(&format!("at rest {rest}, {whole} holding all")).await;
    }
    assert!(dead > RESTS, "{dead} engines were killed");
}
