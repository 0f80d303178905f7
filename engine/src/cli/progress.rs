//! How far a long command has come, on stderr: one line that is written over on a terminal, and a plain line now and then
//! elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::report::{count, span_of};

/// Between two changes of the line on a terminal.
const LIVELY: Duration = Duration::from_millis(100);

/// Between two lines elsewhere.
const PLAIN: Duration = Duration::from_secs(10);

/// The parts of the bar.
const BAR: u64 = 20;

/// A line about work that is done row by row.
pub struct Progress {
    terminal: bool,
    quiet: bool,
    what: String,
    begun: Instant,
    shown: Option<Instant>,
    drawn: bool,
}

impl Progress {
    pub fn new(quiet: bool) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        Progress { terminal, quiet, what: String::new(), begun: Instant::now(), shown: None, drawn: false }
    }

    /// Tells that of about `total` rows so many are done.
    pub fn tell(&mut self, what: &str, rows: u64, total: u64) {
        if self.quiet {
            return;
        }
        let now = Instant::now();
        if self.what != what {
            what.clone_into(&mut self.what);
            self.begun = now;
            self.shown = self.shown.filter(|_| self.terminal).or(Some(now));
        }
        let every = if self.terminal { LIVELY } else { PLAIN };
        if self.shown.is_some_and(|shown| now - shown < every) {
            return;
        }
        self.shown = Some(now);
        let line = line(what, rows, total, now - self.begun);
        let mut stderr = std::io::stderr().lock();
        // A closed stderr is nobody's concern.
        let _ = match self.terminal {
            true => write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush()),
            false => writeln!(stderr, "{line}"),
        };
        self.drawn = self.terminal;
    }

    /// Takes the line away.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[K").and_then(|()| stderr.flush());
        }
    }
}

/// `items at office  [#####...............]  250,000 of 1,000,000 rows, 50,000 a second, 15 s left`.
fn line(what: &str, rows: u64, total: u64, spent: Duration) -> String {
    let total = total.max(rows);
    let done = (rows * BAR).checked_div(total).unwrap_or(BAR);
    let bar: String = (0..BAR).map(|at| if at < done { '#' } else { '.' }).collect();
    let rate = (rows as f64 / spent.as_secs_f64().max(0.001)) as u64;
    let left = Duration::from_secs((total - rows) / rate.max(1));
    format!(
        "{what}  [{bar}]  {} of {} rows, {} a second, {} left",
        count(rows),
        count(total),
        count(rate),
        span_of(left)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_rows_rate_and_time_left() {
        assert_eq!(
            line("items at office", 250_000, 1_000_000, Duration::from_secs(5)),
            "items at office  [#####...............]  250,000 of 1,000,000 rows, 50,000 a second, 15 s left"
        );
        // More than was expected, as after a rough count.
        let more = line("t at a", 30, 20, Duration::from_secs(1));
        assert_eq!(more, "t at a  [####################]  30 of 30 rows, 30 a second, 0 µs left");
        assert!(line("t at a", 0, 0, Duration::ZERO).contains("0 of 0 rows"));
    }
}
