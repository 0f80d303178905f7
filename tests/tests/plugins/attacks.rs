//! What a plugin may try in a sync, and what comes of it: one table of attacks with their outcomes. After each the sync goes on, rows
//! beside the one that is concerned are carried, and no row is lost.

use concord::sync::{LoadOptions, ParkedReport};
use concord_tests::{Cluster, Kind};

use At::{Filter, Resolver, ToLocal, ToShared};
use Outcome::{Batch, Goes, Refused, Row};

/// The function that is attacked from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Resolver,
    Filter,
    ToShared,
    ToLocal,
}

/// What comes of it, as a code and words; `…` stands for any.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// The one row waits.
    Row(&'static str, &'static str),
    /// Every row waits that is asked about in the same call.
    Batch(&'static str, &'static str),
    /// Nothing: it does no harm.
    Goes,
    /// It is not opened, and the sync stands until the file says otherwise.
    Refused(&'static str, &'static str),
}

const FUEL: &str = "it used up its 51000000 instructions of fuel";
const MEMORY: &str = "it asked for more than 16 MiB of memory";
const DEEP: &str = "its calls go too deep";
const LOGS: &str = "it logs without end";
const PANIC: &str = "it gave up: …a panic on purpose";
const NOWHERE: &str = "it broke down (string pointer/length out of bounds of memory)";
const NO_TEXT: &str = "it broke down (invalid utf-8 sequence of 1 bytes from index 0)";
const OTHER_KIND: &str = "the value of `stock` is text, and the column holds integer";
const OTHER_KEY: &str = "it changed the key of the row";
const POISON: &str = "`note`: the note is poison";
const REFUSAL: &str = "`note`: this table is not to my liking";

#[rustfmt::skip]
const ATTACKS: &[(At, &str, Outcome)] = &[
    // Work without end, and breaking down.
    (Resolver, "loop", Row("fuel", FUEL)),
    (Resolver, "recursion", Row("stack", DEEP)),
    (Resolver, "memory", Row("memory", MEMORY)),
    (Resolver, "panic", Row("trap", PANIC)),
    (Resolver, "abort", Row("trap", "it gave up")),
    (Resolver, "index", Row("trap", "it gave up: …the len is 0 but the index is 3")),
    (Resolver, "divide", Row("trap", "it gave up: …attempt to divide by zero")),
    (Resolver, "unaligned", Row("trap", "it broke down (wasm trap: out of bounds memory access)")),
    (Filter, "loop", Row("fuel", FUEL)),
    (Filter, "recursion", Row("stack", DEEP)),
    (Filter, "memory", Row("memory", MEMORY)),
    (Filter, "panic", Row("trap", PANIC)),
    (Filter, "abort", Row("trap", "it gave up")),
    (ToShared, "loop", Row("fuel", FUEL)),
    (ToShared, "recursion", Row("stack", DEEP)),
    (ToShared, "memory", Row("memory", MEMORY)),
    (ToShared, "panic", Row("trap", PANIC)),
    (ToShared, "abort", Row("trap", "it gave up")),
    (ToLocal, "loop", Row("fuel", FUEL)),
    (ToLocal, "recursion", Row("stack", DEEP)),
    (ToLocal, "memory", Row("memory", MEMORY)),
    (ToLocal, "panic", Row("trap", PANIC)),
    (ToLocal, "abort", Row("trap", "it gave up")),
    // At the n-th call. Of a new instance every call is the first, and the third goes wrong with the batch of the third cycle alone.
    (Resolver, "first-call", Batch("trap", "it gave up: …the first call")),
    // What the host offers.
    (Resolver, "log-flood", Goes),
    (Resolver, "log-long", Goes),
    (Resolver, "log-control", Goes),
    (Resolver, "log-endless", Row("forbidden", LOGS)),
    (Resolver, "log-nowhere", Row("trap", NOWHERE)),
    (Resolver, "log-giant", Row("trap", NOWHERE)),
    (Resolver, "log-invalid", Row("trap", NO_TEXT)),
    (Resolver, "log-level", Row("trap", "it broke down (unexpected discriminant: 9)")),
    (Filter, "log-endless", Row("forbidden", LOGS)),
    (ToShared, "log-endless", Row("forbidden", LOGS)),
    (ToLocal, "log-endless", Row("forbidden", LOGS)),
    // Answers too few, too many, without end, and too large.
    (Resolver, "none", Batch("answer", "it gave 0 answers to 1 conflicts")),
    (Resolver, "too-few", Batch("answer", "it gave 0 answers to 1 conflicts")),
    (Resolver, "too-many", Batch("answer", "it gave 2 answers to 1 conflicts")),
    (Resolver, "endless-answers", Batch("memory", MEMORY)),
    (Resolver, "giant", Batch("memory", MEMORY)),
    (Resolver, "shared", Batch("memory", MEMORY)),
    (Filter, "none", Batch("answer", "it gave 0 answers about 1 rows")),
    (Filter, "too-many", Batch("answer", "it gave 2 answers about 1 rows")),
    (ToShared, "none", Batch("answer", "it gave 0 answers about 1 rows")),
    (ToShared, "too-many", Batch("answer", "it gave 2 answers about 1 rows")),
    (ToLocal, "none", Batch("answer", "it gave 0 answers about 1 rows")),
    (ToLocal, "too-many", Batch("answer", "it gave 2 answers about 1 rows")),
    (Filter, "endless-answers", Batch("memory", MEMORY)),
    (Filter, "giant", Row("memory", MEMORY)),
    (ToShared, "endless-answers", Batch("memory", MEMORY)),
    (ToShared, "giant", Row("memory", MEMORY)),
    (ToLocal, "endless-answers", Batch("memory", MEMORY)),
    (ToLocal, "giant", Row("memory", MEMORY)),
    // Answers that are none.
    (Resolver, "take-far", Row("answer", "it took version 7 of 2, counted from 0")),
    (Resolver, "other", Row("answer", "it answered what is not known here: `quantum`")),
    (Resolver, "short", Row("answer", "a row of 2 values, and the table has 3 columns")),
    (Resolver, "long", Row("answer", "a row of 4 values, and the table has 3 columns")),
    (Resolver, "key", Row("answer", OTHER_KEY)),
    (Resolver, "null-key", Row("answer", OTHER_KEY)),
    (Resolver, "other-value", Row("answer", "the value of `note` is of a kind that is not known here: `point`")),
    (Resolver, "invalid-text", Row("trap", NO_TEXT)),
    (Filter, "other", Row("answer", "it answered what is not known here: `maybe`")),
    (ToShared, "short", Row("answer", "a row of 2 values, and the table has 3 columns")),
    (ToShared, "long", Row("answer", "a row of 4 values, and the table has 3 columns")),
    (ToShared, "key", Row("answer", OTHER_KEY)),
    (ToShared, "null-key", Row("answer", OTHER_KEY)),
    (ToShared, "other-value", Row("answer", "the value of `note` is of a kind that is not known here: `point`")),
    (ToShared, "kind", Row("answer", OTHER_KIND)),
    (ToShared, "invalid-text", Row("trap", NO_TEXT)),
    (ToLocal, "short", Row("answer", "a row of 2 values, and the table has 3 columns")),
    (ToLocal, "long", Row("answer", "a row of 4 values, and the table has 3 columns")),
    (ToLocal, "key", Row("answer", OTHER_KEY)),
    (ToLocal, "null-key", Row("answer", OTHER_KEY)),
    (ToLocal, "other-value", Row("answer", "the value of `note` is of a kind that is not known here: `point`")),
    (ToLocal, "kind", Row("answer", OTHER_KIND)),
    (ToLocal, "invalid-text", Row("trap", NO_TEXT)),
    // Words without end and such as are none, and what it keeps between calls.
    (Resolver, "problem", Row("bad-note", POISON)),
    (Resolver, "problem-long", Row("xxxxxxxx…", "`note`: y y y …")),
    (Resolver, "problem-invalid", Row("trap", NO_TEXT)),
    (Resolver, "kept", Goes),
    (Filter, "problem", Row("bad-note", POISON)),
    (Filter, "problem-invalid", Row("trap", NO_TEXT)),
    (ToShared, "problem", Row("bad-note", POISON)),
    (ToShared, "problem-invalid", Row("trap", NO_TEXT)),
    (ToLocal, "problem", Row("bad-note", POISON)),
    (ToLocal, "problem-invalid", Row("trap", NO_TEXT)),
    // All this while it is opened.
    (Resolver, "open-refuse", Refused("no-thanks", REFUSAL)),
    (Resolver, "open-loop", Refused("fuel", FUEL)),
    (Resolver, "open-recursion", Refused("stack", DEEP)),
    (Resolver, "open-memory", Refused("memory", MEMORY)),
    (Resolver, "open-panic", Refused("trap", PANIC)),
    (Resolver, "open-abort", Refused("trap", "it gave up")),
    (Resolver, "open-log-endless", Refused("forbidden", LOGS)),
    (Resolver, "record-unknown", Refused("open", "it wants to see the changes of `nothing`, which the table does not have")),
    (Resolver, "record-key", Refused("open", "it wants to see the changes of `id`, which is part of the key and never changes")),
    (Resolver, "record-twice", Refused("open", "it wants to see the changes of `note`, and does so twice")),
    (Resolver, "record-invalid", Refused("trap", NO_TEXT)),
    (Filter, "open-refuse", Refused("no-thanks", REFUSAL)),
    (Filter, "open-loop", Refused("fuel", FUEL)),
    (Filter, "open-recursion", Refused("stack", DEEP)),
    (Filter, "open-memory", Refused("memory", MEMORY)),
    (Filter, "open-panic", Refused("trap", PANIC)),
    (Filter, "open-abort", Refused("trap", "it gave up")),
    (Filter, "want-unknown", Refused("open", "it wants to see `nothing`, which the table does not have")),
    (Filter, "want-twice", Refused("open", "it wants to see `note`, and does so twice")),
    (Filter, "want-invalid", Refused("trap", NO_TEXT)),
    (ToShared, "open-refuse", Refused("no-thanks", REFUSAL)),
    (ToShared, "open-loop", Refused("fuel", FUEL)),
    (ToShared, "open-recursion", Refused("stack", DEEP)),
    (ToShared, "open-memory", Refused("memory", MEMORY)),
    (ToShared, "open-panic", Refused("trap", PANIC)),
    (ToShared, "open-abort", Refused("trap", "it gave up")),
    (ToShared, "make-no-key", Refused("open", "it makes a table without a key")),
    (ToShared, "make-two-keys", Refused("open", "it makes a table with the key (id, note), and that of the node is (id)")),
    (ToShared, "make-other-key", Refused("open", "in the key it makes `id` of text, and `id` of the node holds integer")),
    (ToShared, "make-twice", Refused("open", "it makes two columns `NOTE`")),
    (ToShared, "make-kind", Refused("open", "it makes a column `price` of the kind `money`, which is none")),
    (ToShared, "make-nameless", Refused("open", "it makes a column ``, which is no name")),
    (ToShared, "make-nothing", Refused("open", "it makes a table without a key")),
    (ToShared, "make-invalid", Refused("trap", NO_TEXT)),
];

const LIMITS: &str = "[limits.hostile]\nmemory = 16\nfuel = 50000000\nfuel_per_row = 1000000\nanswer = 16\n";

impl At {
    /// The section of a table in which the plugin attacks like this.
    fn section(self, table: &str, attack: &str) -> String {
        match self {
            Resolver => format!("[tables.{table}]\nconflict = {{ plugin = \"hostile\", attack = \"{attack}\" }}\n"),
            Filter => format!("[tables.{table}.nodes.b]\nfilter = {{ plugin = \"hostile\", attack = \"{attack}\" }}\n"),
            ToShared | ToLocal => {
                let way = if self == ToShared { "shared-" } else { "local-" };
                // What is done while it is opened has no direction.
                let way = if attack.starts_with("open-") || attack.starts_with("make-") { "" } else { way };
                format!("[tables.{table}.nodes.b]\nmapping = {{ plugin = \"hostile\", attack = \"{way}{attack}\" }}\n")
            }
        }
    }

    /// The words with which a failure begins.
    fn begins(self, table: &str) -> String {
        let (role, function) = match self {
            Resolver => ("resolver", "resolve"),
            Filter => ("filter", "judge"),
            ToShared => ("mapping", "to-shared"),
            ToLocal => ("mapping", "to-local"),
        };
        format!("plugin `hostile`, {role} of `{table}`, {function}: ")
    }
}

/// Whether a text is the pattern, in which `…` stands for any.
fn is(text: &str, pattern: &str) -> bool {
    match pattern.split_once('…') {
        None => text == pattern,
        Some((begin, rest)) => {
            let Some(text) = text.strip_prefix(begin) else { return false };
            text.char_indices().any(|(at, _)| is(&text[at..], rest)) || is("", rest)
        }
    }
}

/// Whether a failure was told as it has to be: `words (code)`, and perhaps what to do about it.
fn told(said: &str, code: &str, words: &str) -> bool {
    let pattern = format!("{words} ({code})");
    is(said, &pattern) || is(said, &format!("{pattern}; …"))
}

/// All attacks by rows, a table for each.
fn tables() -> impl Iterator<Item = (String, At, &'static str, Outcome)> {
    let by_rows = ATTACKS.iter().filter(|(_, _, outcome)| !matches!(outcome, Refused(..)));
    by_rows.enumerate().map(|(number, &(at, attack, outcome))| (format!("t{number}"), at, attack, outcome))
}

/// What makes a table for an attack, with what stands in it from the beginning.
fn made(table: &str, at: At) -> String {
    let rows = if at == Resolver { "INSERT INTO $ VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 3);" } else { "" };
    format!("CREATE TABLE $ (id integer PRIMARY KEY, note text, stock integer); {rows}").replace('$', table)
}

/// What users do there: one of the rows is poison.
async fn changed(cluster: &mut Cluster, table: &str, at: At) {
    let rows = "INSERT INTO $ VALUES (1, 'good', 1), (2, 'poison', 2), (3, 'good', 3)".replace('$', table);
    match at {
        Resolver => {
            let a = "UPDATE $ SET note = 'a' WHERE id = 1; UPDATE $ SET note = 'poison' WHERE id = 2";
            cluster.run(0, &a.replace('$', table)).await;
            let b = "UPDATE $ SET stock = 7 WHERE id IN (1, 2); INSERT INTO $ VALUES (4, 'new', 1)";
            cluster.later(1, &b.replace('$', table)).await;
        }
        Filter | ToLocal => cluster.run(0, &rows).await,
        ToShared => cluster.run(1, &rows).await,
    }
}

#[tokio::test]
async fn rows_of_each_attack_wait_or_go_and_none_is_lost() {
    let setup = |_| tables().map(|(table, at, ..)| made(&table, at)).collect::<String>();
    let sections: String = tables().map(|(table, at, attack, _)| at.section(&table, attack)).collect();
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], setup, &format!("{LIMITS}{sections}")).await;
    cluster.pin(&["hostile"]);
    cluster.install().await;
    for (table, at, ..) in tables() {
        changed(&mut cluster, &table, at).await;
    }
    cluster.sync().await;
    let parked = cluster.session().parked().await.expect("what waits");
    let mut wrong = Vec::new();
    for (table, at, attack, outcome) in tables() {
        if let Err(why) = came_to(&mut cluster, &parked, &table, at, outcome).await {
            wrong.push(format!("{at:?} {attack}: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // It is still running, and what is made whole by another plugin is carried.
    let sections: String = tables().map(|(table, at, ..)| at.section(&table, "latest")).collect();
    cluster.configure(&format!("{LIMITS}{sections}"));
    let mapped: Vec<String> = tables().filter(|(_, at, ..)| *at != Resolver).map(|(table, ..)| table).collect();
    let all = LoadOptions { refilter: true, prefer: Some("a".to_owned()), tables: mapped, ..LoadOptions::default() };
    cluster.load(&all).await;
    cluster.settle().await;
    for (table, at, attack, outcome) in tables() {
        let notes = match (at, outcome) {
            (Resolver, Goes) => ["1|a", "2|poison", "3|three", "4|new"].as_slice(),
            (Resolver, Batch(..)) => &["1|one", "2|two", "3|three", "4|new"],
            (Resolver, _) => &["1|a", "2|two", "3|three", "4|new"],
            _ => &["1|good", "2|poison", "3|good"],
        };
        assert_eq!(cluster.rows(0, &format!("SELECT id, note FROM {table} ORDER BY id")).await, notes, "{attack}");
    }
}

/// Whether an attack came to what it has to, in the first sync; or what it came to.
async fn came_to(
    cluster: &mut Cluster,
    parked: &[ParkedReport],
    table: &str,
    at: At,
    outcome: Outcome,
) -> Result<(), String> {
    let waiting: Vec<&ParkedReport> = parked.iter().filter(|row| row.table == table).collect();
    let mut keys: Vec<String> = waiting.iter().map(|row| row.key.to_string()).collect();
    keys.sort();
    keys.dedup();
    let expected: &[&str] = match (at, outcome) {
        (_, Goes) => &[],
        (_, Row(..)) => &["[2]"],
        (Resolver, _) => &["[1]", "[2]"],
        _ => &["[1]", "[2]", "[3]"],
    };
    if keys != expected {
        return Err(format!("{keys:?} wait: {waiting:?}"));
    }
    for row in &waiting {
        let (Row(code, words) | Batch(code, words) | Refused(code, words)) = outcome else { continue };
        let said = row.message.split_once(&at.begins(table)).ok_or_else(|| row.message.clone())?.1;
        if !told(said, code, words) {
            return Err(said.to_owned());
        }
    }
    let mut notes = [Vec::new(), Vec::new()];
    for (at, notes) in notes.iter_mut().enumerate() {
        *notes = cluster.rows(at, &format!("SELECT id, note, stock FROM {table} ORDER BY id")).await;
    }
    let all = ["1|good|1", "2|poison|2", "3|good|3"].as_slice();
    let carried = if matches!(outcome, Row(..)) { &["1|good|1", "3|good|3"] } else { [].as_slice() };
    let changed = ["1|a|1", "2|poison|2", "3|three|3", "4|new|1"].as_slice();
    let expected: [&[&str]; 2] = match (at, outcome) {
        (Resolver, Goes) => [changed, changed],
        // Both sides of what waits are there, and rows that nobody was asked about went on.
        (Resolver, Row(..)) => [changed, &["1|a|1", "2|two|7", "3|three|3", "4|new|1"]],
        (Resolver, _) => [changed, &["1|one|7", "2|two|7", "3|three|3", "4|new|1"]],
        (Filter | ToLocal, _) => [all, carried],
        (ToShared, _) => [carried, all],
    };
    if notes[0] == expected[0] && notes[1] == expected[1] { Ok(()) } else { Err(format!("the rows are {notes:?}")) }
}

/// Where there is fuel enough, time decides.
#[tokio::test]
async fn rows_that_take_too_long_wait() {
    let limits = "[limits.hostile]\nfuel = 1000000000000000\ntime = 1\n";
    let sections = format!("{limits}{}", Resolver.section("items", "loop"));
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], |_| made("items", Resolver), &sections).await;
    cluster.pin(&["hostile"]);
    cluster.install().await;
    changed(&mut cluster, "items", Resolver).await;
    cluster.sync().await;
    let parked = cluster.session().parked().await.expect("what waits");
    let came = came_to(&mut cluster, &parked, "items", Resolver, Row("time", "it took longer than 1 s")).await;
    assert_eq!(came, Ok(()));
}

#[tokio::test]
async fn what_is_not_opened_carries_nothing_until_the_file_says_otherwise() {
    let setup = |_| "CREATE TABLE items (id integer PRIMARY KEY, note text, stock integer)".to_owned();
    let good = At::Resolver.section("items", "latest");
    let mut cluster = Cluster::bare(&[Kind::Sqlite, Kind::Sqlite], setup, &good).await;
    cluster.pin(&["hostile"]);
    cluster.install().await;
    let mut rows = Vec::new();
    for (number, &(at, attack, outcome)) in ATTACKS.iter().enumerate() {
        let Refused(code, words) = outcome else { continue };
        cluster.run(number % 2, &format!("INSERT INTO items VALUES ({number}, 'note', 1)")).await;
        cluster.configure(&format!("{LIMITS}{}", at.section("items", attack)));
        // Without its resolver or filter nothing is carried; a table without its mapping stands still.
        let why = match cluster.session().sync().await {
            Err(error) => error.to_string(),
            Ok(summary) => summary.stopped.into_iter().map(|stopped| stopped.why).collect(),
        };
        let (_, said) = why.split_once(" of `items`, open: ").unwrap_or_else(|| panic!("{attack}: {why}"));
        // The place in the file follows.
        let said =
            said.lines().next().unwrap_or_default().trim_end_matches("; run `concord check` once that is seen to");
        assert!(told(said, code, words), "{attack}: {said}");
        assert_eq!(cluster.rows((number + 1) % 2, "SELECT id FROM items ORDER BY id").await, rows, "{attack}");
        cluster.configure(&good);
        cluster.sync().await;
        rows.push(number.to_string());
        cluster.holds("SELECT id FROM items ORDER BY id", &rows.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    cluster.settle().await;
}

#[test]
fn there_are_as_many_as_were_promised() {
    assert!(ATTACKS.len() >= 44, "{}", ATTACKS.len());
    let mut names: Vec<String> = ATTACKS.iter().map(|(at, attack, _)| format!("{at:?} {attack}")).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), ATTACKS.len(), "one stands there twice");
}
