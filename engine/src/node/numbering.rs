//! Columns whose values a database draws by counting, and how nodes count without meeting.

use crate::model::Domain;

/// A column whose values the database draws by counting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    pub column: String,
    /// What counts, such as "the sequence public.orders_id_seq".
    pub by: String,
    /// Why it cannot be made to count in steps, with a remedy, if it cannot.
    pub obstacle: Option<String>,
    /// Whether the next number is one more than the greatest that stands there, even if that is below 0.
    pub from_the_greatest: bool,
    /// The settings by which it counts, where they are those of the whole server and no node can make them.
    pub server: Option<ServerSteps>,
}

/// How a whole server counts, which only its administrator sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSteps {
    /// By how many, and from which number on.
    pub step: i64,
    pub first: i64,
    /// What these two settings are called.
    pub settings: [&'static str; 2],
}

impl ServerSteps {
    /// Why the server does not count in steps of so many, all with this remainder, and what to set; `None` if it does.
    pub fn obstacle(&self, step: i64, slot: i64) -> Option<String> {
        let first = if slot == 0 { step } else { slot };
        let [steps, start] = self.settings;
        (self.step != step || self.first != first).then(|| {
            format!(
                "{steps} is {} and {start} is {} for the whole server; let its administrator set {steps} = {step} and {start} = \
                 {first}, also in the file that the server starts with, and let applications connect anew",
                self.step, self.first
            )
        })
    }
}

/// How far a column's numbers have come, and the greatest that the column and whatever counts for it take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    pub last: i64,
    pub most: i64,
}

impl Numbers {
    /// Where nothing but the column's type sets an end.
    pub fn within(domain: &Domain, last: i64) -> Numbers {
        let most = match domain {
            Domain::Int { bits, unsigned } if *bits < 64 => (1 << (bits - u8::from(!unsigned))) - 1,
            Domain::Decimal { limits: Some((digits, scale)) } => {
                10i64.checked_pow(digits.saturating_sub(*scale)).map_or(i64::MAX, |end| end - 1)
            }
            _ => i64::MAX,
        };
        Numbers { last, most }
    }
}

/// How a node is to number rows: in steps as large as there are nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    pub step: i64,
    /// The remainder of all its numbers, divided by the step.
    pub slot: i64,
    /// The next number is greater than this.
    pub above: i64,
    /// The greatest with this remainder that stands anywhere: a node that was put back draws no number twice.
    pub own: i64,
    /// Whether to start above anew, although the steps are the same already.
    pub anew: bool,
}

/// What [`Node::step_numbers`](super::Node::step_numbers) did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stepped {
    /// The last number that was drawn before, if it was changed.
    pub last: Option<i64>,
    /// What was done, in a line.
    pub done: Option<String>,
}
