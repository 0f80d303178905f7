//! What a plugin may use up.

use std::time::Duration;

/// The limits of one plugin. Fuel is the one that decides: the same work takes the same fuel on every machine. Time is there
/// for what fuel does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest file, in bytes.
    pub file: u64,
    /// The memory of an instance, in bytes.
    pub memory: usize,
    /// Fuel for a call, about one for each instruction…
    pub fuel: u64,
    /// …and for each row of it besides.
    pub fuel_per_row: u64,
    /// How long a call may take, whatever its fuel.
    pub time: Duration,
    /// What a call may answer, in bytes.
    pub answer: usize,
    /// Whether a file may set them, so that it helps to say so.
    pub can_be_set: bool,
}

/// Rows that are handed over in one call, at most.
pub(super) const BATCH: usize = 1_000;

/// What the rows of one call may weigh in bytes, before one more row makes a call of its own.
pub(super) const BATCH_WEIGHT: usize = 8 << 20;

/// Instances of one role that are asked at the same time, at most.
pub(super) const ABREAST: usize = 2;

/// Core instances, memories and tables of one component: interpreters are made of several.
pub(super) const INSTANCES: usize = 64;
pub(super) const MEMORIES: usize = 16;
pub(super) const TABLES: usize = 64;
pub(super) const TABLE_ELEMENTS: usize = 200_000;

/// What an instance may hold of the host's at a time, such as streams: no limit of memory counts it.
pub(super) const HELD: usize = 1_000;

/// The stack of a call, in bytes.
pub(super) const STACK: usize = 1 << 20;

/// How often time is looked at.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Rows in a row that may fail each by a trap before the others of a batch are not tried any more.
pub(super) const FAILURES: usize = 8;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            file: 32 << 20,
            memory: 128 << 20,
            fuel: 1_000_000_000,
            fuel_per_row: 10_000_000,
            time: Duration::from_secs(10),
            answer: 64 << 20,
            can_be_set: true,
        }
    }
}

/// A limit that a file may set, by its name there.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub name: &'static str,
    /// The unit in which the file gives it.
    pub unit: &'static str,
    /// The largest number that makes sense.
    pub most: i64,
    set: fn(&mut Limits, i64),
}

impl Limits {
    /// All that a file may set.
    pub const NAMED: [Limit; 6] = [
        Limit { name: "file", unit: "MiB", most: 256, set: |limits, n| limits.file = n as u64 * MIB as u64 },
        Limit { name: "memory", unit: "MiB", most: 4_096, set: |limits, n| limits.memory = n as usize * MIB },
        Limit {
            name: "fuel",
            unit: "instructions",
            most: 1_000_000_000_000_000,
            set: |limits, n| limits.fuel = n as u64,
        },
        Limit {
            name: "fuel_per_row",
            unit: "instructions",
            most: 1_000_000_000_000,
            set: |limits, n| limits.fuel_per_row = n as u64,
        },
        Limit {
            name: "time",
            unit: "seconds",
            most: 3_600,
            set: |limits, n| limits.time = Duration::from_secs(n as u64),
        },
        Limit { name: "answer", unit: "MiB", most: 1_024, set: |limits, n| limits.answer = n as usize * MIB },
    ];

    /// Those of a plugin that is tried by itself, where no file sets any.
    pub fn usual() -> Limits {
        Limits { can_be_set: false, ..Limits::default() }
    }

    /// What to do about one that a plugin ran into; `why` says when.
    pub(super) fn advice(&self, plugin: &str, name: &str, why: &str) -> String {
        match self.can_be_set {
            true => format!("raise `{name}` in [limits.{plugin}] if {why}"),
            false => {
                "a plugin that is tried by itself has the usual limits, whatever [limits] of a sync say".to_owned()
            }
        }
    }

    /// The fuel of a call about so many rows.
    pub(super) fn fuel_for(&self, rows: usize) -> u64 {
        self.fuel.saturating_add(self.fuel_per_row.saturating_mul(rows as u64))
    }

    /// The time of a call in [`TICK`]s, the one that has begun not counted.
    pub(super) fn ticks(&self) -> u64 {
        u64::try_from(self.time.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX / 2).saturating_add(1)
    }
}

impl Limit {
    /// Sets the limit to `n` of its unit; whether that is from 1 to the largest number.
    pub fn set(&self, limits: &mut Limits, n: i64) -> bool {
        let good = (1..=self.most).contains(&n);
        if good {
            (self.set)(limits, n);
        }
        good
    }
}

const MIB: usize = 1 << 20;
