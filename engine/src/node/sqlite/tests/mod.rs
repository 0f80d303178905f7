//! A SQLite file, a user who writes to it, and Concord.

mod applying;
mod capturing;
mod installing;
mod replaced;
mod values;

use std::collections::BTreeMap;

use rusqlite::{Connection, types::Value as Stored};
use tempfile::TempDir;

use crate::model::{Column, Cut, Entry, Key, Op, Row, TableSpec, Type, Value};
use crate::node::{Node, Sync, WriteMode};

/// Everything that one test needs; the file goes with it.
struct Bench {
    _folder: TempDir,
    url: String,
    user: Connection,
    node: Box<dyn Node>,
    specs: Vec<TableSpec>,
}

impl Bench {
    /// A file with these tables, all of them installed. Columns travel as [`Type::Any`].
    async fn new(sql: &str, tables: &[&str]) -> Bench {
        let mut bench = Bench::bare(sql).await;
        for table in tables {
            bench.add(table).await;
        }
        bench.install().await;
        bench
    }

    async fn bare(sql: &str) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.db");
        let user = Connection::open(&path).unwrap();
        user.execute_batch(sql).unwrap();
        let url = format!("sqlite:{}", path.display());
        let node = super::connect(&url).await.unwrap();
        Bench { _folder: folder, url, user, node, specs: Vec::new() }
    }

    async fn add(&mut self, table: &str) -> &mut TableSpec {
        let index = self.specs.len();
        let spec = spec(&mut *self.node, table, index).await;
        self.specs.push(spec);
        &mut self.specs[index]
    }

    async fn install(&mut self) -> Vec<String> {
        self.node.install(&sync(), &self.specs).await.unwrap()
    }

    fn sql(&self, sql: &str) {
        self.user.execute_batch(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// The entries of the first table.
    async fn entries(&mut self) -> Vec<Entry> {
        self.entries_of(0).await
    }

    async fn entries_of(&mut self, table: usize) -> Vec<Entry> {
        self.node.begin_read(&self.specs).await.unwrap();
        let page = self.node.entries(&self.specs[table], &Cut::START, None, usize::MAX).await.unwrap();
        self.node.end_read().await.unwrap();
        page.entries
    }

    /// Operations and keys of the entries since the last call, in short: `I1 U2 D'a'`.
    async fn news(&mut self, table: usize) -> String {
        let entries = self.entries_of(table).await;
        let through = entries.last().map_or(0, |entry| entry.id);
        self.node.purge(&self.specs[table], &Cut::through(through), true, &[]).await.unwrap();
        let short = |entry: &Entry| {
            let key = entry.key.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
            format!("{}{key}", entry.op.letter())
        };
        entries.iter().map(short).collect::<Vec<_>>().join(" ")
    }

    /// Begins to apply and writes rows to the first table.
    async fn write(&mut self, rows: &[Row]) -> crate::node::Result<()> {
        let rows: Vec<&Row> = rows.iter().collect();
        self.node.write(&[(&self.specs[0], &rows, WriteMode::Upsert)]).await.map(drop)
    }

    /// What the table holds, as the user sees it, one row a line.
    fn table(&self, table: &str) -> String {
        let mut statement =
            self.user.prepare(&format!("SELECT * FROM {} ORDER BY 1", super::quote::name(table))).unwrap();
        let width = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        let mut lines = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let cells = (0..width).map(|at| match row.get::<_, Stored>(at).unwrap() {
                Stored::Null => "NULL".to_owned(),
                Stored::Integer(v) => v.to_string(),
                Stored::Real(v) => format!("{v:?}"),
                Stored::Text(v) => v,
                Stored::Blob(v) => format!("{v:?}"),
            });
            lines.push(cells.collect::<Vec<_>>().join(" "));
        }
        lines.join("\n")
    }

    /// The catalogue's whole text and the journal mode.
    fn catalogue(&self) -> String {
        let mode: String = self.user.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        let mut statement = self
            .user
            .prepare("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1")
            .unwrap();
        let lines: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        format!("{mode}\n{}", lines.join("\n"))
    }
}

fn sync() -> Sync {
    Sync { name: "test".into(), nodes: vec!["here".into(), "there".into(), "beyond".into()], node: "here".into() }
}

async fn spec(node: &mut dyn Node, table: &str, index: usize) -> TableSpec {
    let catalogue = node.catalogue(table).await.unwrap().unwrap();
    assert_eq!(catalogue.refusals, Vec::<String>::new());
    let columns: Vec<Column> = catalogue
        .columns
        .iter()
        .filter(|column| !column.generated)
        .enumerate()
        .map(|(shared, column)| Column {
            name: column.name.clone(),
            shared: Some(shared),
            native: column.native.clone(),
            collation: column.collation.clone(),
            domain: column.domain.clone(),
            ty: Type::Any,
            nullable: column.nullable,
        })
        .collect();
    let at = |name: &String| columns.iter().position(|column| column.name == *name).unwrap();
    TableSpec {
        index,
        name: table.to_owned(),
        schema: None,
        local: catalogue.name,
        key: catalogue.key.iter().map(at).collect(),
        keys: Vec::new(),
        layout: columns.iter().map(|column| (column.name.clone(), Type::Any)).collect(),
        columns,
        uniques: catalogue.uniques,
        references: catalogue.references,
        referenced: catalogue.referenced,
        user_triggers: catalogue.user_triggers,
        partitions: Vec::new(),
        partitioned: false,
        keeps_own: false,
        takes_all: true,
        captured: true,
        written: true,
        deletes: true,
        images: Vec::new(),
        shape: String::new(),
    }
}

fn int(value: i64) -> Value {
    Value::Int(value)
}

fn text(value: &str) -> Value {
    Value::text(value)
}

fn row<const N: usize>(values: [Value; N]) -> Row {
    Box::new(values)
}

fn key(value: i64) -> Key {
    Box::new([Value::Int(value)])
}

/// A copy of a table that is kept by reading the history and the rows of its keys, as Concord does.
#[derive(Default)]
struct Replica {
    read: Cut,
    rows: BTreeMap<String, Row>,
    /// The last image of each key, where images are recorded.
    images: BTreeMap<String, Row>,
}

impl Replica {
    /// Reads what is new. `table` is the whole table, with which the copy must then agree.
    async fn follow(&mut self, bench: &mut Bench, table: usize, whole: &BTreeMap<String, Row>) -> Result<(), String> {
        let Bench { node, specs, .. } = bench;
        let spec = &specs[table];
        node.begin_read(specs).await.unwrap();
        let page = node.entries(spec, &self.read, None, usize::MAX).await.unwrap();
        let keys: Vec<&Key> = page.entries.iter().map(|entry| &entry.key).collect();
        let rows = node.rows(spec, &keys).await.unwrap();
        node.end_read().await.unwrap();
        for (entry, row) in page.entries.iter().zip(rows) {
            let name = format!("{:?}", entry.key);
            match row {
                Some(Ok(row)) => self.rows.insert(name.clone(), row),
                Some(Err(why)) => return Err(format!("unreadable: {why}")),
                None => self.rows.remove(&name),
            };
            // Several rows may have the key NULL; they cannot be told apart.
            let images = entry.images.as_ref().filter(|_| !entry.key.iter().any(Value::is_null));
            if let Some(images) = images {
                if images.before.as_ref() != self.images.get(&name) {
                    return Err(format!("before {entry:?} stood {:?}", self.images.get(&name)));
                }
                let fits = match entry.op {
                    Op::Insert => images.before.is_none() && images.after.is_some(),
                    Op::Update => images.before.is_some() && images.after.is_some(),
                    Op::Delete => images.before.is_some() && images.after.is_none(),
                    Op::Pass => false,
                };
                if !fits {
                    return Err(format!("images do not fit: {entry:?}"));
                }
                match images.after.clone() {
                    Some(after) => self.images.insert(name, after),
                    None => self.images.remove(&name),
                };
            }
        }
        self.read = page.whole;
        if self.rows == *whole { Ok(()) } else { Err(format!("{:?}\nis not\n{whole:?}", self.rows)) }
    }
}

/// The whole table by key, as the user sees it.
fn whole(user: &Connection, spec: &TableSpec) -> BTreeMap<String, Row> {
    let columns = super::quote::names(spec.columns.iter().map(|column| column.name.as_str()));
    let mut statement = user.prepare(&format!("SELECT {columns} FROM {}", super::quote::name(&spec.local))).unwrap();
    let rows = statement
        .query_map([], |row| Ok(super::history::read_row(row, spec).unwrap()))
        .unwrap()
        .collect::<Result<Vec<Row>, _>>()
        .unwrap();
    rows.into_iter().map(|row| (format!("{:?}", spec.key_of(&row)), row)).collect()
}
