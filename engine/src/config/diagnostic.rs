//! A problem in the configuration file, shown with its place, its line and what to do about it.

use std::fmt;
use std::ops::Range;

use super::secret;

/// A stretch of the configuration file, kept so that a problem found later, against a database's catalogue, can still
/// point to the line that caused it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A problem or a warning. Its [`Display`](fmt::Display) is several lines long and contains no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as the user named it.
    pub file: String,
    /// From 1. Files that could not be read at all, or that nobody wrote, have no line: 0.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    pub(super) excerpt: Option<Excerpt>,
}

/// The offending line as it may be shown, and which of its characters to point at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    text: String,
    from: usize,
    count: usize,
}

/// How much of an offending line may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// Everything but the insides of URLs and what plugins are told: lines of sections that hold no other secrets.
    Line,
    /// Keys, and of values only what no secret can hide in: lines of well-formed TOML that may hold a secret.
    Keys,
    /// What stands before the first `=`: lines that may hold a secret in quotes that do not match.
    Start,
    /// Nothing.
    Nothing,
}

/// Lines are cut to this many characters around the place in question.
const WIDTH: usize = 110;

impl Diagnostic {
    /// A problem with the file as a whole.
    pub(super) fn of_file(file: &str, message: impl Into<String>, help: impl Into<String>) -> Diagnostic {
        Diagnostic {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message: message.into(),
            help: Some(help.into()),
            excerpt: None,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message)?,
            line => write!(f, "{}:{line}:{}: {}", self.file, self.column, self.message)?,
        }
        if let Some(Excerpt { text, from, count }) = &self.excerpt {
            let number = Some(self.line).filter(|line| *line > 0).map_or(String::new(), |line| line.to_string());
            write!(f, "\n{number:>5} | {text}\n      | {:from$}{:^<count$}", "", "")?;
        }
        if let Some(help) = &self.help {
            for line in help.lines() {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

/// The text of the configuration file. It may hold secrets, so it has no readable `Debug`.
#[derive(Clone)]
pub(super) struct Source {
    pub file: String,
    pub text: String,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.file)
    }
}

impl Source {
    pub fn place(&self, span: Range<usize>) -> Place {
        let start = floor(&self.text, span.start);
        let end = floor(&self.text, span.end.max(span.start));
        Place { line: self.text[..start].matches('\n').count() + 1, start, end }
    }

    pub fn diagnostic(&self, place: &Place, show: Show, message: &str, help: &str) -> Diagnostic {
        let start = floor(&self.text, place.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[line_start..].lines().next().unwrap_or_default();
        Diagnostic {
            file: self.file.clone(),
            line: place.line,
            column: self.text[line_start..start].chars().count() + 1,
            message: message.to_owned(),
            help: (!help.is_empty()).then(|| help.to_owned()),
            excerpt: excerpt(line, start - line_start..place.end.max(start) - line_start, show),
        }
    }
}

/// The line with what must not be shown left out, and the characters that `span` (in bytes of the line) covers.
fn excerpt(line: &str, span: Range<usize>, show: Show) -> Option<Excerpt> {
    let shown = match show {
        Show::Line => secret::without_configuration(line),
        Show::Keys => secret::keys(line),
        Show::Start => secret::start(line),
        Show::Nothing => return None,
    };
    let from = shown.iter().filter(|(at, _)| *at < span.start).count();
    let to = shown.iter().filter(|(at, _)| *at < span.end).count().max(from + 1);
    let cut = if shown.len() > WIDTH { from.saturating_sub(WIDTH / 2).min(shown.len() - WIDTH) } else { 0 };
    let visible = shown.len().min(cut + WIDTH);
    // A control character from a file must not steer the terminal, and a tab would push the mark aside.
    let text: String = shown[cut..visible].iter().map(|(_, c)| c).collect();
    let text = secret::one_line(&text).trim_end().to_owned();
    Some(Excerpt { text, from: from - cut, count: to.min(visible.max(from + 1)) - from })
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}
