//! `concord demo`: two small tables, brought into agreement.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::report::{Table, say};
use super::{block_on, install};
use crate::config::Config;
use crate::error::{ATTENTION, DONE, Error, Result};
use crate::model::time;
use crate::sync::Session;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Show it: two small tables, changed on both sides and brought into agreement",
    long_about = "Create two SQLite files with the same ten rows, change rows 6 and 7 on both sides in different order, sync them, and print both before and after, saying why. With --plugins a third table follows, from which both sides sell, and a plugin adds up what they sold.",
    after_long_help = "Example:\n  concord demo\n  concord demo --keep two-tables\n  concord demo --plugins target/plugins"
)]
pub struct Demo {
    /// Keep the databases and their configuration in this folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Show a plugin at work too: the folder that holds merge-fields.wasm, as `make plugins` makes it
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
}

/// The configuration. The same as in examples/two-tables, as is [`TABLE`].
const CONFIG: &str = "\
name = \"two-tables\"

[nodes.one]
url = \"sqlite:one.db\"

[nodes.two]
url = \"sqlite:two.db\"

[tables.customers]
";

const TABLE: &str = "\
CREATE TABLE customers (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    city TEXT
);

INSERT INTO customers VALUES
    ( 1, 'Ada',    'London'),
    ( 2, 'Blaise', 'Paris'),
    ( 3, 'Carl',   'Brunswick'),
    ( 4, 'Daniel', 'Basel'),
    ( 5, 'Emmy',   'Erlangen'),
    ( 6, 'Fibo',   'Pisa'),
    ( 7, 'Grace',  'New York'),
    ( 8, 'Henri',  'Nancy'),
    ( 9, 'Isaac',  'Grantham'),
    (10, 'John',   'Budapest');
";

/// What a plugin takes beside it: where plugins are, and the table.
const PLUGINS: &str = "plugins = \"plugins\"\n";

const STOCK_CONFIG: &str = "
[tables.stock]
conflict = { plugin = \"merge-fields\", fields = { pieces = \"sum\" } }
";

const PLUGIN: &str = "merge-fields.wasm";

const STOCK: &str = "\
CREATE TABLE stock (
    item   TEXT PRIMARY KEY,
    pieces INTEGER NOT NULL
);

INSERT INTO stock VALUES ('bread', 40), ('cheese', 100), ('milk', 25);
";

/// Sales of cheese in the order in which they are made: node, pieces.
const SALES: [(&str, i64); 2] = [("one", 30), ("two", 5)];

/// The changes in the order in which they are made: node, row, what it becomes.
const CHANGES: [(&str, usize, &str); 4] =
    [("one", 6, "Algiers"), ("two", 6, "Palermo"), ("two", 7, "Boston"), ("one", 7, "Arlington")];

/// What both tables must hold in the end.
const OUTCOME: [(usize, &str, &str); 2] = [(6, "Palermo", "two"), (7, "Arlington", "one")];

pub fn run(demo: &Demo) -> Result<u8> {
    let temporary = match demo.keep {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("concord-demo-").tempdir().map_err(failed("a temporary folder"))?),
    };
    let folder = match (&demo.keep, &temporary) {
        (Some(folder), _) => folder.as_path(),
        (None, Some(folder)) => folder.path(),
        (None, None) => Path::new("."),
    };
    let code = match play(folder, demo.plugins.as_deref())? {
        DONE if demo.plugins.is_some() => sell(folder)?,
        code => code,
    };
    match &demo.keep {
        Some(folder) => {
            say(&format!("Look at them: concord conflicts list -c {}", folder.join("concord.toml").display()))?
        }
        None => say("To keep it all and look around: concord demo --keep DIR")?,
    }
    Ok(code)
}

fn play(folder: &Path, plugins: Option<&Path>) -> Result<u8> {
    set_up(folder, plugins)?;
    let (one, two) = (open(folder, "one")?, open(folder, "two")?);
    say("Two databases, `one` and `two`, each with the same table of ten customers.\n")?;
    if plugins.is_some() {
        say("concord plugin lock")?;
        let (_, pinned) = super::plugin::pin(&Config::load(&folder.join("concord.toml"))?, &[])?;
        pinned.pins.iter().try_for_each(|pin| say(&format!("pinned {}", pin.name)))?;
        say("")?;
    }
    say("concord install")?;
    let mut session = Session::new(Config::load(&folder.join("concord.toml"))?);
    // As in two commands, there is nothing that the second knows from the first.
    let (nodes, _) = block_on(async { session.install().await })?;
    drop(session);
    install::print(&nodes, "nothing to do")?;

    say("\nBoth are written to, in this order:")?;
    for (place, (node, id, city)) in CHANGES.into_iter().enumerate() {
        let sql = format!("UPDATE customers SET city = '{city}' WHERE id = {id}");
        next_millisecond();
        change(if node == "one" { &one } else { &two }, place + 1, node, &sql)?;
    }
    say("\nBefore the sync (* differs):")?;
    customers(&one, &two)?.print()?;

    say("\nconcord sync")?;
    let conflicts = sync(folder)?;

    let (first, second) = (rows(&one, CUSTOMERS)?, rows(&two, CUSTOMERS)?);
    say("\nAfter the sync:")?;
    customers(&one, &two)?.print()?;
    say("\nWhy, as the journal tells:")?;
    for (id, ..) in OUTCOME {
        for conflict in conflicts.iter().filter(|conflict| conflict.key == serde_json::json!([id])) {
            say(&format!("  row {id} is that of `{}`: {}", conflict.winner, conflict.reason))?;
        }
    }
    let mut wrong = String::new();
    for (id, city, node) in OUTCOME {
        let holds = |rows: &[Vec<String>]| rows.get(id - 1).is_some_and(|row| row[2] == city);
        let told = conflicts.iter().any(|c| c.key == serde_json::json!([id]) && c.winner == node);
        if !holds(&first) || !holds(&second) || !told {
            // Writing into a String cannot fail.
            let _ =
                write!(wrong, "\nrow {id} should be that of `{node}` in both tables, and the journal should say so");
        }
    }
    if first != second {
        wrong += "\nthe tables still differ";
    }
    if !wrong.is_empty() {
        say(&format!("\nThis is not as it should be:{wrong}"))?;
        return Ok(ATTENTION);
    }
    say("\nBoth tables hold the same, and the rows that lost are in the journal.")?;
    Ok(DONE)
}

/// A table whose conflict a plugin decides: of two sales none may be forgotten.
fn sell(folder: &Path) -> Result<u8> {
    let (one, two) = (open(folder, "one")?, open(folder, "two")?);
    let stood = &rows(&one, STOCK_ROWS)?[1][1];
    let stood: i64 = stood
        .parse()
        .map_err(|_| Error::Internal(format!("the stock of the demo is `{stood}`, which is no number")))?;
    say("\n\nA plugin at work: both sell from the same stock of cheese.")?;
    for (place, (node, pieces)) in SALES.into_iter().enumerate() {
        let sql = format!("UPDATE stock SET pieces = pieces - {pieces} WHERE item = 'cheese'");
        next_millisecond();
        change(if node == "one" { &one } else { &two }, place + 1, node, &sql)?;
    }
    say("\nBefore the sync (* differs):")?;
    stock(&one, &two)?.print()?;
    let [(_, first), (_, second)] = SALES;
    say(&format!(
        "\nIf the latest change won, {first} pieces that were sold would be back. concord.toml says for this table:{STOCK_CONFIG}"
    ))?;
    say("concord sync")?;
    let conflicts = sync(folder)?;
    say("\nAfter the sync:")?;
    stock(&one, &two)?.print()?;
    if let Some(conflict) = conflicts.iter().find(|conflict| conflict.table == "stock") {
        say(&format!("\nWhy, as the journal tells: {}", conflict.reason))?;
    }
    let left = stood - first - second;
    let holds = |database: &Connection| Ok::<_, Error>(rows(database, STOCK_ROWS)?[1][1] == left.to_string());
    if !holds(&one)? || !holds(&two)? {
        say(&format!("\nThis is not as it should be:\nboth tables should hold {left} pieces of cheese"))?;
        return Ok(ATTENTION);
    }
    say(&format!("\nBoth tables hold {stood} - {first} - {second} = {left} pieces."))?;
    Ok(DONE)
}

/// What a user of a database does, and tells.
fn change(database: &Connection, place: usize, node: &str, sql: &str) -> Result<()> {
    database.execute(sql, []).map_err(spoiled)?;
    say(&format!("  {place}. {node}: {sql}"))
}

/// Syncs, as in a command of its own; what the journal then holds.
fn sync(folder: &Path) -> Result<Vec<crate::sync::ConflictReport>> {
    let mut session = Session::new(Config::load(&folder.join("concord.toml"))?);
    let (summary, conflicts) = block_on(async { Ok((session.sync().await?, session.conflicts(0).await?)) })?;
    super::sync::print_carried(&summary)?;
    Ok(conflicts)
}

/// Writes the databases and their configuration; refuses to touch what is there.
fn set_up(folder: &Path, plugins: Option<&Path>) -> Result<()> {
    let plugin = plugins.map(|plugins| plugins.join(PLUGIN));
    if let Some(plugin) = plugin.as_ref().filter(|plugin| !plugin.is_file()) {
        let plugin = plugin.display();
        return Err(Error::Usage(format!("there is no {plugin}\n    `make plugins` makes it in target/plugins")));
    }
    std::fs::create_dir_all(folder).map_err(failed(folder.display()))?;
    let own = plugin.iter().map(|_| "plugins");
    for name in ["concord.toml", "one.db", "two.db"].into_iter().chain(own) {
        if folder.join(name).exists() {
            let folder = folder.display();
            return Err(Error::Usage(format!(
                "{folder} holds a {name} already, which is left as it is\n    name another folder"
            )));
        }
    }
    let file = folder.join("concord.toml");
    let mut config = CONFIG.to_owned();
    if let Some(plugin) = &plugin {
        let own = folder.join("plugins");
        std::fs::create_dir(&own).map_err(failed(own.display()))?;
        std::fs::copy(plugin, own.join(PLUGIN)).map_err(failed(own.join(PLUGIN).display()))?;
        config = config.replacen("\n\n", &format!("\n{PLUGINS}\n"), 1) + STOCK_CONFIG;
    }
    std::fs::write(&file, config).map_err(failed(file.display()))?;
    let tables = if plugin.is_some() { format!("{TABLE}{STOCK}") } else { TABLE.to_owned() };
    ["one", "two"].iter().try_for_each(|node| open(folder, node)?.execute_batch(&tables).map_err(spoiled))
}

fn open(folder: &Path, node: &str) -> Result<Connection> {
    let database = Connection::open(folder.join(format!("{node}.db"))).map_err(spoiled)?;
    // The engine may be writing.
    database.busy_timeout(std::time::Duration::from_secs(10)).map_err(spoiled)?;
    Ok(database)
}

fn failed(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Error {
    move |why| Error::Usage(format!("creating {what}: {why}"))
}

fn spoiled(why: rusqlite::Error) -> Error {
    Error::Internal(format!("writing to the demo's own databases: {why}"))
}

/// Waits until the clock shows another millisecond, which is as exactly as SQLite tells the time of a change. Changes of
/// people come with more between them.
fn next_millisecond() {
    let before = time::now() / 1000;
    // One whole millisecond lies between, however the reading is rounded. A clock that is set back is not waited for.
    while (before..=before + 1).contains(&(time::now() / 1000)) {
        std::hint::spin_loop();
    }
}

const CUSTOMERS: &str = "SELECT id, name, city FROM customers ORDER BY id";

const STOCK_ROWS: &str = "SELECT item, pieces FROM stock ORDER BY item";

/// All rows of a query, as text.
fn rows(database: &Connection, query: &str) -> Result<Vec<Vec<String>>> {
    let read = || -> rusqlite::Result<Vec<Vec<String>>> {
        let mut statement = database.prepare(query)?;
        let columns = statement.column_count();
        let text = |value: Value| match value {
            Value::Integer(number) => number.to_string(),
            Value::Text(text) => text,
            other => format!("{other:?}"),
        };
        let row = |row: &rusqlite::Row<'_>| (0..columns).map(|at| Ok(text(row.get(at)?))).collect();
        statement.query_map([], row)?.collect()
    };
    read().map_err(spoiled)
}

fn customers(one: &Connection, two: &Connection) -> Result<Table> {
    let table = Table::new(&["", ">one: id", "name", "city", "|", ">two: id", "name", "city"]);
    Ok(side_by_side(table, &rows(one, CUSTOMERS)?, &rows(two, CUSTOMERS)?))
}

fn stock(one: &Connection, two: &Connection) -> Result<Table> {
    let table = Table::new(&["", "one: item", ">pieces", "|", "two: item", ">pieces"]);
    Ok(side_by_side(table, &rows(one, STOCK_ROWS)?, &rows(two, STOCK_ROWS)?))
}

/// Both tables, with the rows that differ marked. Both hold the same keys.
fn side_by_side(mut table: Table, one: &[Vec<String>], two: &[Vec<String>]) -> Table {
    for (one, two) in one.iter().zip(two) {
        let mark = if one == two { " " } else { "*" };
        let cells = std::iter::once(mark).chain(one.iter().map(String::as_str));
        table.row(cells.chain(std::iter::once("|")).chain(two.iter().map(String::as_str)));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_as_promised_and_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let demo = Demo { keep: Some(folder.path().join("kept")), plugins: None };
        assert_eq!(run(&demo).unwrap(), DONE);
        assert_eq!(run(&demo).unwrap_err().exit_code(), crate::error::USAGE);
    }

    #[test]
    fn the_example_is_the_same() {
        let example = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/two-tables").join(name);
            std::fs::read_to_string(path).unwrap()
        };
        assert_eq!(example("concord.toml"), CONFIG);
        assert_eq!(example("customers.sql"), TABLE);
        let script = example("run.sh");
        for (node, id, city) in CHANGES {
            let line = format!("sqlite3 {node}.db \"UPDATE customers SET city = '{city}' WHERE id = {id}\"");
            assert!(script.contains(&line), "{line}");
        }
    }
}
