//! How far a long command has come, on stderr: one line that is written over on a terminal, and a plain line now and then
//! elsewhere.

use std::io::{IsTerminal, StderrLock, Write, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::report::{count, cut, plain, span_of};

/// Between two changes of the line on a terminal.
const LIVELY: Duration = Duration::from_millis(100);

/// Between two lines elsewhere.
const PLAIN: Duration = Duration::from_secs(10);

/// The parts of the bar.
const BAR: u64 = 20;

/// Whether the line is on the terminal now. Changed by who holds the lock of stderr.
static DRAWN: AtomicBool = AtomicBool::new(false);

/// Stderr for messages: they take the place of the line, which comes back below them.
pub fn messages() -> StderrLock<'static> {
    let mut stderr = stderr().lock();
    if DRAWN.swap(false, Ordering::Relaxed) {
        // A closed stderr is nobody's concern.
        let _ = write!(stderr, "\r\x1b[K").and_then(|()| stderr.flush());
    }
    stderr
}

/// A line that tells how far something has come. Taken away when dropped.
pub struct Line {
    /// How many characters fit, on a terminal.
    width: Option<usize>,
    quiet: bool,
    shown: Option<Instant>,
}

impl Line {
    pub fn new(quiet: bool) -> Line {
        let stderr = stderr();
        let width = stderr.is_terminal().then(|| match terminal_size::terminal_size_of(&stderr) {
            // The last column stays free: some terminals wrap as soon as it is written.
            Some((width, _)) if width.0 > 1 => usize::from(width.0) - 1,
            _ => 79,
        });
        Line { width, quiet, shown: None }
    }

    /// How often it is worth telling something new.
    pub fn every(&self) -> Duration {
        if self.width.is_some() { LIVELY } else { PLAIN }
    }

    /// Shows the longest text that fits, unless the last was shown just now. The texts are the same, ever shorter.
    pub fn show(&mut self, texts: impl FnOnce() -> Vec<String>) {
        let now = Instant::now();
        let since = *self.shown.get_or_insert_with(|| if self.width.is_some() { now - LIVELY } else { now });
        if self.quiet || now - since < self.every() {
            return;
        }
        self.shown = Some(now);
        let text = plain(&fitting(texts(), self.width.unwrap_or(usize::MAX)));
        let mut stderr = messages();
        let _ = match self.width {
            Some(_) => {
                DRAWN.store(true, Ordering::Relaxed);
                write!(stderr, "{text}").and_then(|()| stderr.flush())
            }
            None => writeln!(stderr, "{text}"),
        };
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        drop(messages());
    }
}

/// The first text that is no longer than `width`, or so much of the last.
fn fitting(texts: Vec<String>, width: usize) -> String {
    let found = texts.iter().find(|text| text.chars().count() <= width).or(texts.last());
    found.map(|text| cut(text, width)).unwrap_or_default()
}

/// A line about work that is done row by row.
pub struct Progress {
    line: Line,
    what: String,
    begun: Instant,
}

impl Progress {
    pub fn new(quiet: bool) -> Progress {
        Progress { line: Line::new(quiet), what: String::new(), begun: Instant::now() }
    }

    /// Tells that of about `total` rows so many are done.
    pub fn tell(&mut self, what: &str, rows: u64, total: u64) {
        if self.what != what {
            what.clone_into(&mut self.what);
            self.begun = Instant::now();
        }
        let spent = self.begun.elapsed();
        self.line.show(|| [true, false].map(|bar| line(what, rows, total, spent, bar)).into());
    }
}

/// `items at office  [#####...............]  250,000 of 1,000,000 rows, 50,000 a second, 15 s left`.
fn line(what: &str, rows: u64, total: u64, spent: Duration, bar: bool) -> String {
    let total = total.max(rows);
    let done = (rows * BAR).checked_div(total).unwrap_or(BAR);
    let bar = match bar {
        true => format!("[{}]  ", (0..BAR).map(|at| if at < done { '#' } else { '.' }).collect::<String>()),
        false => String::new(),
    };
    let rate = (rows as f64 / spent.as_secs_f64().max(0.001)) as u64;
    let left = match (total - rows).div_ceil(rate.max(1)) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => span_of(Duration::from_secs(seconds)),
    };
    format!("{what}  {bar}{} of {} rows, {} a second, {left} left", count(rows), count(total), count(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_rows_rate_and_time_left() {
        let told = |rows, total, seconds| line("items at office", rows, total, Duration::from_secs(seconds), true);
        assert_eq!(
            told(250_000, 1_000_000, 5),
            "items at office  [#####...............]  250,000 of 1,000,000 rows, 50,000 a second, 15 s left"
        );
        assert!(told(999_999, 1_000_000, 5).ends_with(", 1 s left"), "less than a second is no zero");
        assert!(told(1_000, 1_000_000, 1).ends_with(", 16 min left"));
        // More than was expected, as after a rough count.
        assert!(told(30, 20, 1).ends_with("[####################]  30 of 30 rows, 30 a second, 0 s left"));
        assert!(told(0, 0, 0).contains("0 of 0 rows"));
    }

    #[test]
    fn a_line_is_never_wider_than_the_terminal() {
        let texts = || vec!["a long text".to_owned(), "a text".to_owned()];
        assert_eq!(fitting(texts(), 11), "a long text");
        assert_eq!(fitting(texts(), 10), "a text");
        assert_eq!(fitting(texts(), 4), "a t…");
    }
}
