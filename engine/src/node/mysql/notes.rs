//! Entries that Concord writes: of changes made elsewhere, and of rows that it touches for a user.

use super::apply::ANY;
use super::service::{LARGE, marks};
use super::wire::{Args, Wire};
use super::{MySql, quote, sql};
use crate::model::{Column, Domain, Key, TableSpec, Value};
use crate::node::{Error, ErrorKind, Note, Result, WriteMode};

/// Entries in one statement, at most.
const ROWS: usize = 1_000;

impl MySql {
    /// Leaves out those of rows that could never stand here, as nobody asks for them: what the server calls no value of a key is
    /// found by halving.
    pub(super) async fn write_notes(&mut self, table: &TableSpec, notes: &[&Note]) -> Result<()> {
        let notes: Vec<&Note> = notes.iter().copied().filter(|note| sql::can_hold(table, &note.key)).collect();
        let form = Form::of(table);
        let mut left = vec![&notes[..]];
        while let Some(notes) = left.pop() {
            let (args, count) = self.note_args(&form, notes)?;
            if count == 0 {
                continue;
            }
            let (lot, rest) = notes.split_at(count);
            left.push(rest);
            match self.main()?.execute(&form.insert(count), args).await {
                Err(error) if error.kind == ErrorKind::Value => match lot {
                    [note] if !self.takes_key(&form, &note.key).await? => {}
                    [_] => return Err(error),
                    lot => {
                        let (first, second) = lot.split_at(count / 2);
                        left.extend([second, first]);
                    }
                },
                written => drop(written?),
            }
        }
        Ok(())
    }

    /// The parameters of one statement, and for how many of the notes.
    fn note_args(&self, form: &Form<'_>, notes: &[&Note]) -> Result<(Args, usize)> {
        let (mut args, mut count) = (Args::new(), 0);
        for note in notes.iter().take(form.most()) {
            if args.size() >= LARGE {
                break;
            }
            count += 1;
            args.add(note.op.letter())
                .add(note.stamp.time)
                .add(self.node_name(note.dot.node)?)
                .add(note.dot.number)
                .add(note.dot.mark)
                .add(self.vector_text(&note.vector)?);
            form.add_key(&mut args, &note.key);
            form.add_images(&mut args, note);
        }
        Ok((args, count))
    }

    /// Takes out what this transaction has recorded of rows that are to be written, or deleted without a `mode`: what a reference or a
    /// trigger did to them earlier is overwritten, and would pass for a change that a user made later than what is written.
    ///
    /// Where every change is counted, what changed more than a reference hands on stays, and the row is owed, unless it is deleted
    /// everywhere.
    pub(super) async fn forget_own(&mut self, table: &TableSpec, keys: &[&Key], mode: Option<WriteMode>) -> Result<()> {
        let is_changed = self.has_triggers || !table.references.is_empty();
        if self.as_user || !table.captured || !is_changed {
            return Ok(());
        }
        let overwritten = overwritten(mode);
        let condition = format!("{overwritten} AND {}", uncounted(table, mode));
        let ids: Vec<i64> = self.recorded_here(table, keys, &condition).await?.into_keys().collect();
        for part in ids.chunks(sql::KEYS) {
            let mut args = Args::new();
            args.all(part);
            let list = vec!["?"; part.len()].join(", ");
            let statement = format!("DELETE FROM {} WHERE id IN ({list})", sql::history(table));
            self.main()?.execute(&statement, args).await?;
        }
        if table.images.is_empty() {
            return Ok(());
        }
        let left = self.recorded_here(table, keys, overwritten).await?;
        if !left.is_empty() {
            self.owed.entry(table.index).or_default().extend(left.into_values());
        }
        Ok(())
    }

    /// Those of `keys` of which this transaction has recorded, before they were written, what must not be lost.
    pub(super) fn owed_among(&self, table: &TableSpec, keys: &[&Key]) -> Vec<Key> {
        let Some(owed) = self.owed.get(&table.index) else { return Vec::new() };
        keys.iter().filter(|key| owed.contains(**key)).map(|key| (*key).clone()).collect()
    }

    /// Whether the history takes a key, whatever else an entry holds.
    async fn takes_key(&mut self, form: &Form<'_>, key: &Key) -> Result<bool> {
        let mut args = Args::new();
        form.add_key(&mut args, key);
        let statement = format!(
            "INSERT INTO {} (op, time, {}) VALUES ('D', 0, {})",
            sql::history(form.table),
            form.key_names.join(", "),
            vec!["?"; key.len()].join(", ")
        );
        let line = self.main()?;
        line.run("SAVEPOINT concord_key").await?;
        let taken = match line.execute(&statement, args).await {
            Err(error) if error.kind == ErrorKind::Value => false,
            written => written? > 0,
        };
        line.run("ROLLBACK TO SAVEPOINT concord_key; RELEASE SAVEPOINT concord_key").await?;
        Ok(taken)
    }

    pub(super) async fn write_touch(&mut self, table: &TableSpec, key: &Key, since: Option<i64>) -> Result<()> {
        let impossible = || {
            let why = format!(
                "no row of this key can stand in {}, so nothing there could count instead; change or delete it where it is",
                table.full_name()
            );
            Error::new(ErrorKind::Value, why)
        };
        if !sql::can_hold(table, key) {
            return Err(impossible());
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
        let explained = |error: Error| if error.kind == ErrorKind::Value { impossible() } else { error };
        if self.main()?.execute(&statement, args).await.map_err(explained)? > 0 {
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
        self.main()?.execute(&statement, args).await.map(drop).map_err(explained)
    }
}

/// The condition that a write of this mode overwrites what the entry `h` tells. What is only updated stays away where it is gone.
fn overwritten(mode: Option<WriteMode>) -> &'static str {
    match mode {
        Some(WriteMode::UpdateOnly) => "h.op = 'U'",
        _ => ANY,
    }
}

/// The condition that no change need be counted of which the entry `h` tells: nothing is added up here, or a reference did it, or the row
/// is deleted anyway. What was added to a row that goes everywhere is moot.
fn uncounted(table: &TableSpec, mode: Option<WriteMode>) -> String {
    if table.images.is_empty() || mode.is_none() && table.takes_all {
        return ANY.to_owned();
    }
    let mut parts = vec!["h.before_ = 1 AND h.after_ = 1".to_owned()];
    parts.extend(table.counted_columns().map(|(at, column)| {
        let (old, new) = sql::image_columns(at);
        match column.domain {
            Domain::Text { .. } => format!("CAST(h.{old} AS BINARY) <=> CAST(h.{new} AS BINARY)"),
            _ => format!("h.{old} <=> h.{new}"),
        }
    }));
    let mut ways = vec![parts.join(" AND ")];
    if mode.is_none() {
        ways.push("h.op = 'D'".to_owned());
    }
    ways.extend(moved(table));
    format!("({})", ways.join(" OR "))
}

/// The condition that the entry `h` tells of a row to which a reference gave another key, if one can: as much went under one key as came
/// under the other.
fn moved(table: &TableSpec) -> Option<String> {
    let names: Vec<String> = sql::history_keys(table).collect();
    let keys = table.kept_of_key()?.into_iter().map(|(at, _)| format!("h.{}", names[at]));
    let images = table.counted_columns().map(|(at, _)| {
        let (old, new) = sql::image_columns(at);
        format!("COALESCE(h.{old}, h.{new})")
    });
    // No NULL, and byte by byte. Of one short value the server makes a table, where it would go through all entries for each.
    let told: String = keys.chain(images).map(|cell| format!(", QUOTE({cell})")).collect();
    Some(format!(
        "h.op IN ('I', 'D') AND SHA2(CONCAT_WS(',', h.op = 'I'{told}), 256) IN \
         (SELECT SHA2(CONCAT_WS(',', h.op = 'D'{told}), 256) FROM {} AS h WHERE {} AND h.origin IS NULL AND h.op IN ('I', 'D'))",
        sql::history(table),
        sql::is_unmarked()
    ))
}

/// How the notes of a table stand in its history.
struct Form<'t> {
    table: &'t TableSpec,
    keys: Vec<(&'t Column, Wire)>,
    key_names: Vec<String>,
    images: Vec<(&'t Column, Wire)>,
}

impl<'t> Form<'t> {
    fn of(table: &'t TableSpec) -> Form<'t> {
        Form {
            table,
            keys: table.key_columns().map(|column| (column, Wire::of(column))).collect(),
            key_names: sql::history_keys(table).collect(),
            images: table.image_columns().map(|column| (column, Wire::of(column))).collect(),
        }
    }

    /// How many can be entered at once.
    fn most(&self) -> usize {
        (sql::PARAMETERS / self.names().len()).clamp(1, ROWS)
    }

    /// The statement that enters so many.
    fn insert(&self, count: usize) -> String {
        let names = self.names();
        format!("INSERT INTO {} ({}) VALUES {}", sql::history(self.table), names.join(", "), marks(names.len(), count))
    }

    /// The columns of an entry.
    fn names(&self) -> Vec<String> {
        let mut names = ["op", "time", "origin", "number", "dot", "vector"].map(str::to_owned).to_vec();
        names.extend_from_slice(&self.key_names);
        if !self.images.is_empty() {
            names.extend(["before_", "after_"].map(str::to_owned));
        }
        for at in 0..self.images.len() {
            names.extend(<[String; 2]>::from(sql::image_columns(at)));
        }
        names
    }

    fn add_key(&self, args: &mut Args, key: &Key) {
        for ((column, wire), value) in self.keys.iter().zip(key.iter()) {
            args.cell(column, wire, value);
        }
    }

    fn add_images(&self, args: &mut Args, note: &Note) {
        if self.images.is_empty() {
            return;
        }
        let sides = match &note.images {
            None => [None, None],
            Some(images) => [images.before.as_ref(), images.after.as_ref()],
        };
        for side in sides {
            args.add(note.images.as_ref().map(|_| i8::from(side.is_some())));
        }
        for (at, (column, wire)) in self.images.iter().enumerate() {
            for side in sides {
                args.cell(column, wire, side.map_or(&Value::Null, |row| &row[at]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Type;

    #[test]
    fn entries_of_many_columns_are_fewer_in_a_statement() {
        let column = |at: usize| Column::bare(at, &format!("c{at}"), Type::Int);
        for (images, most) in [(0, ROWS), (20, ROWS), (29, sql::PARAMETERS / 67), (60, sql::PARAMETERS / 129)] {
            let table = TableSpec {
                columns: (0..=images).map(column).collect(),
                key: vec![0],
                images: (1..=images).collect(),
                ..TableSpec::bare(0, "t", std::iter::empty())
            };
            let form = Form::of(&table);
            assert_eq!(form.most(), most, "{images} columns");
            assert!(form.insert(form.most()).matches('?').count() <= sql::PARAMETERS, "{images} columns");
        }
    }
}
