//! Entries that Concord writes: of changes made elsewhere, and of rows that it touches for a user.

use super::service::{LARGE, marks};
use super::wire::{Args, Wire};
use super::{MySql, quote, sql};
use crate::model::{Column, Key, TableSpec, Value};
use crate::node::{Error, ErrorKind, Note, Result};

/// Entries in one statement.
const ROWS: usize = 1_000;

impl MySql {
    pub(super) async fn write_notes(&mut self, table: &TableSpec, notes: &[&Note]) -> Result<()> {
        let wires: Vec<Wire> = table.key_columns().map(Wire::of).collect();
        let images: Vec<(&Column, Wire)> = table.image_columns().map(|column| (column, Wire::of(column))).collect();
        let mut names = "op, time, origin, number, dot, vector".to_owned();
        for name in sql::history_keys(table) {
            names += &format!(", {name}");
        }
        if !images.is_empty() {
            names += ", before_, after_";
        }
        for at in 0..images.len() {
            let (old, new) = sql::image_columns(at);
            names += &format!(", {old}, {new}");
        }
        let width = names.split(", ").count();
        // Nobody asks for a row that could never stand here.
        let notes: Vec<&Note> = notes.iter().copied().filter(|note| sql::can_hold(table, &note.key)).collect();
        let mut notes = notes.into_iter().peekable();
        while notes.peek().is_some() {
            let (mut args, mut count) = (Args::new(), 0);
            while count < ROWS && args.size() < LARGE {
                let Some(note) = notes.next() else { break };
                count += 1;
                args.add(if note.deleted { "D" } else { "U" })
                    .add(note.stamp.time)
                    .add(self.node_name(note.dot.node)?)
                    .add(note.dot.number)
                    .add(note.dot.mark)
                    .add(self.vector_text(&note.vector)?);
                for ((column, wire), value) in table.key_columns().zip(&wires).zip(note.key.iter()) {
                    args.cell(column, wire, value);
                }
                if images.is_empty() {
                    continue;
                }
                let (before, after) = match &note.images {
                    None => (None, None),
                    Some(images) => (images.before.as_ref(), images.after.as_ref()),
                };
                for side in [before, after] {
                    args.add(note.images.as_ref().map(|_| i8::from(side.is_some())));
                }
                for (at, (column, wire)) in images.iter().enumerate() {
                    for side in [before, after] {
                        args.cell(column, wire, side.map_or(&Value::Null, |row| &row[at]));
                    }
                }
            }
            let statement = format!("INSERT INTO {} ({names}) VALUES {}", sql::history(table), marks(width, count));
            self.main()?.execute(&statement, args).await?;
        }
        Ok(())
    }

    pub(super) async fn write_touch(&mut self, table: &TableSpec, key: &Key, since: Option<i64>) -> Result<()> {
        if !sql::can_hold(table, key) {
            let why = format!(
                "no row of this key can stand in {}, so nothing there could count instead; change or delete it where it is",
                table.full_name()
            );
            return Err(Error::new(ErrorKind::Value, why));
        }
        let time = match since {
            Some(since) => since,
            None => self.clock().await?,
        };
        let history = sql::history(table);
        let keys = sql::history_keys(table).collect::<Vec<_>>().join(", ");
        let mut names = format!("op, time, {keys}");
        let mut values = format!("'U', ?, {}", sql::key_list(table, "t"));
        if !table.images.is_empty() {
            names += ", before_, after_";
            values += ", 1, 1";
        }
        for (at, column) in table.image_columns().enumerate() {
            let (old, new) = sql::image_columns(at);
            names += &format!(", {old}, {new}");
            values += &format!(", {column}, {column}", column = quote::of("t", &column.name));
        }
        let mut args = Args::new();
        args.add(time);
        let condition = sql::with_keys(&mut args, table, "t", &[key]);
        let statement = format!(
            "INSERT INTO {history} ({names}) SELECT {values} FROM {} AS t WHERE {condition}",
            sql::table(table)
        );
        if self.main()?.execute(&statement, args).await? > 0 {
            return Ok(());
        }
        let mut args = Args::new();
        args.add(time);
        for (column, value) in table.key_columns().zip(key.iter()) {
            args.cell(column, &Wire::of(column), value);
        }
        let images = if table.images.is_empty() { ("", "") } else { (", before_, after_", ", 0, 0") };
        let statement = format!(
            "INSERT INTO {history} (op, time, {keys}{}) VALUES ('D', ?, {}{})",
            images.0,
            vec!["?"; key.len()].join(", "),
            images.1
        );
        self.main()?.execute(&statement, args).await.map(drop)
    }
}
