//! `concord demo`: two small tables, brought into agreement.

use std::fmt::Write;
use std::path::Path;

use clap::Args;
use rusqlite::Connection;

use super::report::{Table, say};
use super::{block_on, install};
use crate::config::Config;
use crate::error::{ATTENTION, DONE, Error, Result};
use crate::model::time;
use crate::sync::Session;

#[derive(Clone, Debug, Args)]
#[command(
    about = "Show it: two small tables, changed on both sides and brought into agreement",
    long_about = "Create two SQLite files with the same ten rows, change rows 6 and 7 on both sides in different order, sync them, and print both before and after, saying why.",
    after_long_help = "Example:\n  concord demo\n  concord demo --keep two-tables"
)]
pub struct Demo {
    /// Keep the databases and their configuration in this folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<std::path::PathBuf>,
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
    let code = play(folder)?;
    match &demo.keep {
        Some(folder) => {
            say(&format!("Look at them: concord conflicts list -c {}", folder.join("concord.toml").display()))?
        }
        None => say("To keep it all and look around: concord demo --keep DIR")?,
    }
    Ok(code)
}

fn play(folder: &Path) -> Result<u8> {
    set_up(folder)?;
    let (one, two) = (open(folder, "one")?, open(folder, "two")?);
    say("Two databases, `one` and `two`, each with the same table of ten customers.\n\nconcord install")?;
    let mut session = Session::new(Config::load(&folder.join("concord.toml"))?);
    // As in two commands, there is nothing that the second knows from the first.
    let (nodes, _) = block_on(async { session.install().await })?;
    drop(session);
    install::print(&nodes, "nothing to do")?;

    say("\nBoth are written to, in this order:")?;
    for (place, (node, id, city)) in CHANGES.into_iter().enumerate() {
        let sql = format!("UPDATE customers SET city = '{city}' WHERE id = {id}");
        next_millisecond();
        let database = if node == "one" { &one } else { &two };
        database.execute(&sql, []).map_err(spoiled)?;
        say(&format!("  {}. {node}: {sql}", place + 1))?;
    }
    say("\nBefore the sync (* differs):")?;
    side_by_side(&rows(&one)?, &rows(&two)?).print()?;

    say("\nconcord sync")?;
    let mut session = Session::new(Config::load(&folder.join("concord.toml"))?);
    let (summary, conflicts) = block_on(async { Ok((session.sync().await?, session.conflicts(0).await?)) })?;
    super::sync::print_carried(&summary)?;

    let (first, second) = (rows(&one)?, rows(&two)?);
    say("\nAfter the sync:")?;
    side_by_side(&first, &second).print()?;
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

/// Writes the databases and their configuration; refuses to touch what is there.
fn set_up(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(failed(folder.display()))?;
    for name in ["concord.toml", "one.db", "two.db"] {
        if folder.join(name).exists() {
            let folder = folder.display();
            return Err(Error::Usage(format!(
                "{folder} holds a {name} already, which is left as it is\n    name another folder"
            )));
        }
    }
    let file = folder.join("concord.toml");
    std::fs::write(&file, CONFIG).map_err(failed(file.display()))?;
    ["one", "two"].iter().try_for_each(|node| open(folder, node)?.execute_batch(TABLE).map_err(spoiled))
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

/// All rows, in the order of their ids.
fn rows(database: &Connection) -> Result<Vec<Vec<String>>> {
    let read = || -> rusqlite::Result<Vec<Vec<String>>> {
        let mut statement = database.prepare("SELECT id, name, city FROM customers ORDER BY id")?;
        let row = |row: &rusqlite::Row<'_>| Ok(vec![row.get::<_, i64>(0)?.to_string(), row.get(1)?, row.get(2)?]);
        statement.query_map([], row)?.collect()
    };
    read().map_err(spoiled)
}

/// Both tables, with the rows that differ marked. Both hold the same ids.
fn side_by_side(one: &[Vec<String>], two: &[Vec<String>]) -> Table {
    let mut table = Table::new(&["", ">one: id", "name", "city", "|", ">two: id", "name", "city"]);
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
        let demo = Demo { keep: Some(folder.path().join("kept")) };
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
