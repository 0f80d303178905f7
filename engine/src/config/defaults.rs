//! The `[defaults]` section: what holds for every table that does not say otherwise.

use std::time::Duration;

use super::conflict::{self, Conflict};
use super::section::{Field, Problems, Section, shown};
use super::{Mode, TableConfig, duration, nearest};

/// Settings of the sync as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// For tables without a `conflict` of their own.
    pub conflict: Conflict,
    /// By how much a node's clock may differ from the others' before something is done about it.
    pub max_skew: Duration,
    pub on_skew: OnSkew,
    /// About how many changes a cycle carries at once, and with them a transaction at a target. One user's transaction is divided
    /// only if it alone is larger.
    pub batch: usize,
    /// For how long the journal keeps what lost.
    pub journal: Duration,
    /// For tables without `ids` of their own.
    pub ids: Ids,
    /// How long a `watch` rests between two comparisons of the tables that are kept in step by comparison.
    pub compare_every: Duration,
}

/// How the nodes number new rows, where their databases draw the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// As each database does by itself.
    Unchanged,
    /// Each in steps as large as there are nodes, from a start of its own, so that no two draw the same number.
    Interleave,
}

/// What to do about a node whose clock differs by more than `max_skew`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSkew {
    /// Report it and go on; times are corrected by the measured offset.
    Warn,
    /// Leave that node out until its clock is right.
    Stop,
}

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults {
            conflict: Conflict::LatestWins,
            max_skew: Duration::from_secs(5),
            on_skew: OnSkew::Warn,
            batch: 100_000,
            journal: Duration::from_secs(365 * 86_400),
            ids: Ids::Unchanged,
            compare_every: Duration::from_secs(60),
        }
    }
}

const LARGEST_BATCH: i64 = 10_000_000;

pub(super) fn read(section: &Section<'_>, nodes: &[String], problems: &mut Problems<'_>) -> Defaults {
    section.only(&["conflict", "max_skew", "on_skew", "batch", "journal", "ids", "compare_every"], &|_| None, problems);
    let usual = Defaults::default();
    Defaults {
        conflict: conflict::read(section, nodes, false, problems).unwrap_or(usual.conflict),
        max_skew: max_skew(section, problems).unwrap_or(usual.max_skew),
        on_skew: on_skew(section, problems).unwrap_or(usual.on_skew),
        batch: batch(section, problems).unwrap_or(usual.batch),
        journal: journal(section, problems).unwrap_or(usual.journal),
        ids: ids(section, problems).unwrap_or(usual.ids),
        compare_every: compare_every(section, problems).unwrap_or(usual.compare_every),
    }
}

/// Warns of settings that are about tables of a kind of which the file has none.
pub(super) fn warn_of_idle(section: &Section<'_>, tables: &[TableConfig], problems: &mut Problems<'_>) {
    let compared = tables.iter().filter(|table| table.mode == Mode::Compare).count();
    let (idle, why, help): (&[&str], _, _) = match compared {
        0 => (&["compare_every"], "no table is compared", "remove it, or add mode = \"compare\" to a table"),
        all if all == tables.len() => (
            &["max_skew", "on_skew", "batch", "journal", "ids"],
            "every table is compared",
            "remove it; it is about tables with triggers",
        ),
        _ => return,
    };
    // What is written out although it is so anyhow, promises nothing.
    let is_usual = |field: &Field<'_>| field.name == "ids" && field.item.as_str() == Some("unchanged");
    let fields = section.fields(problems.source);
    for field in fields.iter().filter(|field| idle.contains(&field.name) && !is_usual(field)) {
        let what = format!("`{}` does nothing: {why}", field.name);
        problems.warn(&field.key, section.show, what, help);
    }
}

fn max_skew(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Duration> {
    let text = section.text("max_skew", "\"5s\"", problems)?;
    let help = "for example: max_skew = \"5s\"; units: ms, s, m, h";
    match duration::parse(&text.name) {
        Ok(Duration::ZERO) => {
            problems.add(&text.place, section.show, "`max_skew` is zero: no two clocks agree that well", help);
            None
        }
        Ok(span) => Some(span),
        Err(why) => {
            problems.add(&text.place, section.show, why, help);
            None
        }
    }
}

/// Shorter than this, what lost would be gone before anybody could look.
const SHORTEST_JOURNAL: Duration = Duration::from_secs(3600);

fn journal(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Duration> {
    let text = section.text("journal", "\"365d\"", problems)?;
    let help = "for example: journal = \"90d\"; units: h, d";
    match duration::parse(&text.name) {
        Ok(span) if span < SHORTEST_JOURNAL => {
            let what = "`journal` is less than an hour: nobody could look at what lost before it is gone";
            problems.add(&text.place, section.show, what, help);
            None
        }
        Ok(span) => Some(span),
        Err(why) => {
            problems.add(&text.place, section.show, why, help);
            None
        }
    }
}

fn compare_every(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Duration> {
    let text = section.text("compare_every", "\"1m\"", problems)?;
    let help = "for example: compare_every = \"1m\"; units: ms, s, m, h";
    match duration::parse(&text.name) {
        Ok(Duration::ZERO) => {
            let what = "`compare_every` is zero: `watch` would read all rows of all nodes without a pause";
            problems.add(&text.place, section.show, what, help);
            None
        }
        Ok(span) => Some(span),
        Err(why) => {
            problems.add(&text.place, section.show, why, help);
            None
        }
    }
}

/// `ids` of the defaults or of a table.
pub(super) fn ids(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Ids> {
    let text = section.text("ids", "\"interleave\"", problems)?;
    match text.name.as_str() {
        "interleave" => Some(Ids::Interleave),
        "unchanged" => Some(Ids::Unchanged),
        other => {
            let help = nearest::suggestion(other, ["interleave", "unchanged"], "what it can be");
            problems.add(&text.place, section.show, format!("`ids` cannot be `{}`", shown(other)), help);
            None
        }
    }
}

fn on_skew(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<OnSkew> {
    let text = section.text("on_skew", "\"warn\"", problems)?;
    match text.name.as_str() {
        "warn" => Some(OnSkew::Warn),
        "stop" => Some(OnSkew::Stop),
        other => {
            let help = nearest::suggestion(other, ["warn", "stop"], "what it can be");
            problems.add(&text.place, section.show, format!("`on_skew` cannot be `{}`", shown(other)), help);
            None
        }
    }
}

fn batch(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<usize> {
    let field = section.field("batch", problems.source)?;
    match field.item.as_integer() {
        Some(rows @ 1..=LARGEST_BATCH) => usize::try_from(rows).ok(),
        Some(_) => {
            let what = format!("`batch` must be between 1 and {LARGEST_BATCH}");
            problems.add(
                &field.value,
                section.show,
                what,
                "it counts changes that are carried at once: batch = 100000",
            );
            None
        }
        None => {
            section.wrong_type(&field, "a whole number of changes", "100000", problems);
            None
        }
    }
}
