//! How reports look: tables, JSON, times and counts.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value as Document;

use crate::error::{Error, Result};
use crate::model::time;

pub use crate::config::one_line;

/// Writes `report` to stdout as one indented JSON document.
pub fn json(report: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(report).map_err(|why| Error::Internal(format!("writing JSON: {why}")))?;
    verbatim(&text)
}

/// Writes one message, of one or more lines, to stdout.
pub fn say(text: &str) -> Result<()> {
    verbatim(&plain(text))
}

/// A message without what steers a terminal: there are names in it that strangers made up, in bundles and plugins.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect()
}

/// Writes a text that programs read to stdout, as it is.
pub fn verbatim(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// A small table with aligned columns.
#[derive(Clone, Debug)]
pub struct Table {
    heads: Vec<Head>,
    rows: Vec<Vec<String>>,
}

#[derive(Clone, Debug)]
struct Head {
    name: String,
    right: bool,
}

impl Table {
    /// Columns by their heads; one that begins with `>` is aligned to the right, as numbers are.
    pub fn new(heads: &[&str]) -> Table {
        let head = |text: &&str| match text.strip_prefix('>') {
            Some(name) => Head { name: name.to_owned(), right: true },
            None => Head { name: (*text).to_owned(), right: false },
        };
        Table { heads: heads.iter().map(head).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells that are missing stay empty, and cells are kept on one line.
    pub fn row<I: IntoIterator<Item = S>, S: Into<String>>(&mut self, cells: I) -> &mut Table {
        self.rows.push(cells.into_iter().map(Into::into).map(|cell: String| one_line(&cell)).collect());
        self
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes it to stdout.
    pub fn print(&self) -> Result<()> {
        say(self.to_string().trim_end_matches('\n'))
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = |text: &str| text.chars().count();
        let cell = |row: &[String], at: usize| row.get(at).cloned().unwrap_or_default();
        let names: Vec<String> = self.heads.iter().map(|head| head.name.clone()).collect();
        let widths: Vec<usize> = (0..self.heads.len())
            .map(|at| self.rows.iter().chain([&names]).map(|row| width(&cell(row, at))).max().unwrap_or_default())
            .collect();
        for row in std::iter::once(&names).chain(&self.rows) {
            let mut line = String::new();
            for (at, head) in self.heads.iter().enumerate() {
                let text = cell(row, at);
                let pad = " ".repeat(widths[at] - width(&text));
                let gap = if at == 0 { "" } else { "  " };
                line += &if head.right { format!("{gap}{pad}{text}") } else { format!("{gap}{text}{pad}") };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A value of a report as a cell: text as it is, what is no text in SQL's way.
pub fn cell(value: &Document) -> String {
    match value {
        Document::Null => "NULL".to_owned(),
        Document::String(text) => text.clone(),
        Document::Object(members) => match members.iter().next().map(|(kind, value)| (kind.as_str(), value)) {
            Some(("hex", Document::String(hex))) => format!("x'{hex}'"),
            Some((_, inner)) => cell(inner),
            None => String::new(),
        },
        other => other.to_string(),
    }
}

/// At most so many characters, with a sign where something is left out.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// `2024-05-31 09:05:00Z`, from microseconds UTC.
pub fn instant(micros: i64) -> String {
    match micros {
        i64::MAX | i64::MIN => time::timestamp(micros),
        _ => time::timestamp(micros - micros.rem_euclid(1_000_000)) + "Z",
    }
}

/// How long before `now` something was: `3 s ago`. Both in microseconds UTC.
pub fn ago(micros: i64, now: i64) -> String {
    match u64::try_from(now.saturating_sub(micros)) {
        Ok(span) => format!("{} ago", span_of(Duration::from_micros(span))),
        // Clocks differ; what lies in the future was just now.
        Err(_) => "just now".to_owned(),
    }
}

/// `12 ms`, `1.5 s`, `3 min`, `2 h`, `5 d`: as exact as a person needs it.
pub fn span_of(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if span.as_micros() < 1000 => format!("{} µs", span.as_micros()),
        0 => format!("{} ms", span.as_millis()),
        1..10 => format!("{:.1} s", span.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["node", ">pending", "state"]);
        table.row(["office", "3", "ok"]).row(["é", "12,000"]).row(["b", "0", "two\nlines"]);
        assert_eq!(
            table.to_string(),
            "node    pending  state\noffice        3  ok\né        12,000\nb             0  two lines\n"
        );
    }

    #[test]
    fn messages_do_not_steer_a_terminal() {
        let named = "no key `\u{1b}[2J\u{9b}31m`\r\u{7}";
        assert_eq!(plain(named), "no key ` [2J 31m`  ");
        assert_eq!(plain("two\n\tlines, é…"), "two\n\tlines, é…");
    }

    #[test]
    fn cells_are_readable_and_short() {
        let document = serde_json::json!([null, "a", 1, {"float": 0.5}, {"hex": "00ff"}, {"json": "[1]"}]);
        let cells: Vec<String> = document.as_array().unwrap().iter().map(cell).collect();
        assert_eq!(cells, ["NULL", "a", "1", "0.5", "x'00ff'", "[1]"]);
        assert_eq!([cut("éàü", 3), cut("éàüö", 3)], ["éàü", "éà…"]);
    }

    #[test]
    fn times_and_counts() {
        assert_eq!(instant(1_717_146_300_999_999), "2024-05-31 09:05:00Z");
        assert_eq!(ago(1_000_000, 4_500_000), "3.5 s ago");
        assert_eq!(ago(5, 4), "just now");
        assert_eq!(span_of(Duration::from_secs(119)), "119 s");
        assert_eq!(span_of(Duration::from_secs(86_400 * 3)), "3 d");
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(counted(1, "row", "rows") + &counted(2, "row", "rows"), "1 row2 rows");
    }
}
