//! What is made of single columns, and its inverse.

use std::borrow::Cow;

use concord_plugin::{Kind, Value};

use crate::number::{self, Factor};

/// Some columns of the node, and the shared ones that are made of them. Each column of either side belongs to one part at most, so what one
/// has moved out of a row no other needs.
pub struct Part {
    /// Places in the node's row.
    pub local: Vec<usize>,
    /// Places in the shared row.
    pub shared: Vec<usize>,
    pub lens: Lens,
}

pub enum Lens {
    /// Several texts are shared as one.
    Join(Cuts),
    /// One text is shared as several.
    Split(Cuts),
    /// The node has no such column: what it would hold in all rows.
    Constant(Value),
    Single(Single),
}

/// How one text is several.
pub struct Cuts {
    pub separator: String,
    pub parts: usize,
    /// Whether the first part takes what is left, and not the last.
    pub first_takes_rest: bool,
}

/// A column that is shared as one.
pub struct Single {
    pub change: Change,
    /// What is shared where the node holds NULL.
    pub default: Option<Value>,
    /// What the node holds where NULL is shared.
    pub empty: Option<Value>,
}

pub enum Change {
    Same,
    Values(Values),
    /// Multiplied on its way to the others. The kinds are those of the node and of the others.
    Unit(Factor, Kind, Kind),
    Case(Case),
}

/// Values that have other names elsewhere.
pub struct Values {
    /// The node's, and what each is shared as.
    pub there: Vec<(Value, Value)>,
    /// Shared ones, and what the node is to hold for each.
    pub back: Vec<(Value, Value)>,
    /// Whether all others are the same everywhere.
    pub others: bool,
}

pub struct Case {
    pub upper: bool,
    /// How the node holds what comes from elsewhere, if not as it comes.
    pub stored_upper: Option<bool>,
}

/// Why a value cannot be mapped.
#[derive(Debug)]
pub struct Fault {
    pub code: &'static str,
    pub message: &'static str,
}

const fn fault(code: &'static str, message: &'static str) -> Fault {
    Fault { code, message }
}

/// Most values stay what they are, and are not copied before it is known which of them is wanted.
type Made<'a> = Result<Cow<'a, Value>, Fault>;

impl Part {
    /// The shared values of the node's row.
    pub fn get<'a>(&'a self, local: &'a [Value]) -> Result<Vec<Cow<'a, Value>>, Fault> {
        let own = |at: usize| &local[self.local[at]];
        Ok(match &self.lens {
            Lens::Join(cuts) => vec![Cow::Owned(cuts.join(self.local.iter().map(|&at| &local[at])))],
            Lens::Split(cuts) => cuts.split(own(0)),
            Lens::Constant(value) => vec![Cow::Borrowed(value)],
            Lens::Single(single) => vec![single.get(own(0))?],
        })
    }

    /// What the node is to hold for the shared row.
    pub fn put<'a>(&'a self, shared: &'a [Value]) -> Result<Vec<Cow<'a, Value>>, Fault> {
        let wanted = |at: usize| &shared[self.shared[at]];
        Ok(match &self.lens {
            Lens::Join(cuts) => cuts.split(wanted(0)),
            Lens::Split(cuts) => vec![Cow::Owned(cuts.join(self.shared.iter().map(|&at| &shared[at])))],
            Lens::Constant(_) => Vec::new(),
            Lens::Single(single) => vec![single.put(wanted(0))?],
        })
    }

    /// Whether the node's row is shared as this one, as far as it goes.
    pub fn gives(&self, local: &[Value], shared: &[Value]) -> bool {
        match &self.lens {
            Lens::Single(single) => {
                single.get(&local[self.local[0]]).is_ok_and(|got| got.same(&shared[self.shared[0]]))
            }
            _ => self.get(local).is_ok_and(|got| got.iter().zip(&self.shared).all(|(one, &at)| one.same(&shared[at]))),
        }
    }
}

impl Lens {
    /// Whether the shared value is the node's own, whatever it is.
    pub fn is_same(&self) -> bool {
        matches!(self, Lens::Single(single) if single.is_same())
    }

    /// Said of a value that would be another when it is got back.
    pub fn not_back(&self) -> Fault {
        match self {
            Lens::Join(_) | Lens::Split(_) => {
                fault("parts", "it cannot be told from the node's one text where its parts begin and end")
            }
            Lens::Constant(_) => fault("constant", "the node can hold only rows with the one value that is configured"),
            Lens::Single(Single { change: Change::Case(_), .. }) => {
                fault("case", "it has letters of a case in which the node shares none")
            }
            Lens::Single(_) => fault("not-back", "what the node would hold for it is shared as another value"),
        }
    }
}

impl Cuts {
    fn join<'a>(&self, parts: impl Iterator<Item = &'a Value>) -> Value {
        let parts: Vec<&str> = parts.filter_map(Value::as_text).collect();
        if parts.is_empty() { Value::Null } else { Value::Text(parts.join(&self.separator)) }
    }

    fn split<'a>(&self, text: &Value) -> Vec<Cow<'a, Value>> {
        let mut parts: Vec<&str> = match text.as_text() {
            None => Vec::new(),
            Some(text) if self.first_takes_rest => text.rsplitn(self.parts, &self.separator).collect(),
            Some(text) => text.splitn(self.parts, &self.separator).collect(),
        };
        if self.first_takes_rest {
            parts.reverse();
        }
        let text = |part: &str| Cow::Owned(Value::Text(part.to_owned()));
        let mut values: Vec<Cow<'a, Value>> = parts.into_iter().map(text).collect();
        values.resize(self.parts, Cow::Owned(Value::Null));
        values
    }
}

impl Single {
    pub fn is_same(&self) -> bool {
        matches!(self, Single { change: Change::Same, default: None, empty: None })
    }

    fn get<'a>(&'a self, local: &'a Value) -> Made<'a> {
        if local.is_null() {
            return Ok(self.default.as_ref().map_or(Cow::Owned(Value::Null), Cow::Borrowed));
        }
        if self.empty.as_ref().is_some_and(|empty| empty.same(local)) {
            return Ok(Cow::Owned(Value::Null));
        }
        self.change.get(local)
    }

    fn put<'a>(&'a self, shared: &'a Value) -> Made<'a> {
        if shared.is_null() {
            return match (&self.empty, &self.default) {
                (Some(empty), _) => Ok(Cow::Borrowed(empty)),
                (None, None) => Ok(Cow::Owned(Value::Null)),
                (None, Some(_)) => Err(fault("null", "it is NULL, which the node shares as its default")),
            };
        }
        let made = self.change.put(shared);
        let is_default = self.default.as_ref().is_some_and(|default| default.same(shared));
        // A default that no value of the node stands for is NULL there.
        let comes_back = |made: &Value| self.get(made).is_ok_and(|got| got.same(shared));
        let goes_back = !is_default || made.as_ref().is_ok_and(|made| comes_back(made));
        if goes_back { made } else { Ok(Cow::Owned(Value::Null)) }
    }
}

impl Change {
    fn get<'a>(&'a self, local: &'a Value) -> Made<'a> {
        match self {
            Change::Same => Ok(Cow::Borrowed(local)),
            Change::Values(values) => values.get(local),
            Change::Unit(factor, _, shared) => unit(factor.times(local), *shared).map(Cow::Owned),
            Change::Case(case) => Ok(written(local, Some(case.upper))),
        }
    }

    fn put<'a>(&'a self, shared: &'a Value) -> Made<'a> {
        match self {
            Change::Same => Ok(Cow::Borrowed(shared)),
            Change::Values(values) => values.put(shared),
            Change::Unit(factor, local, _) => unit(factor.inverse().times(shared), *local).map(Cow::Owned),
            Change::Case(case) => Ok(written(shared, case.stored_upper)),
        }
    }
}

impl Values {
    fn get<'a>(&'a self, local: &'a Value) -> Made<'a> {
        match found(&self.there, local) {
            Some(shared) => Ok(Cow::Borrowed(shared)),
            None if self.others => Ok(Cow::Borrowed(local)),
            None => Err(fault("unknown-value", "the node holds a value that `values` does not name")),
        }
    }

    fn put<'a>(&'a self, shared: &'a Value) -> Made<'a> {
        match found(&self.back, shared) {
            Some(local) => Ok(Cow::Borrowed(local)),
            None if self.others => Ok(Cow::Borrowed(shared)),
            None => Err(fault("unknown-value", "it is nothing that `values` makes of a value of the node")),
        }
    }
}

pub fn found<'a>(pairs: &'a [(Value, Value)], wanted: &Value) -> Option<&'a Value> {
    pairs.iter().find(|(value, _)| value.same(wanted)).map(|(_, other)| other)
}

fn written(value: &Value, upper: Option<bool>) -> Cow<'_, Value> {
    let (Some(text), Some(upper)) = (value.as_text(), upper) else { return Cow::Borrowed(value) };
    let others = if upper { b'a'..=b'z' } else { b'A'..=b'Z' };
    if text.bytes().all(|byte| byte.is_ascii() && !others.contains(&byte)) {
        return Cow::Borrowed(value);
    }
    // Most texts are, and other letters have to be looked up one by one.
    let written = match (text.is_ascii(), upper) {
        (true, true) => text.to_ascii_uppercase(),
        (true, false) => text.to_ascii_lowercase(),
        (false, true) => text.to_uppercase(),
        (false, false) => text.to_lowercase(),
    };
    Cow::Owned(Value::Text(written))
}

/// A number that was calculated, as a value of this kind.
fn unit(number: Result<(i128, usize), number::Why>, kind: Kind) -> Result<Value, Fault> {
    const LARGE: Fault = fault("too-large", "it has more digits than can be calculated with, or than an integer holds");
    match (number, kind) {
        (Ok((number, 0)), Kind::Integer) => Value::from_integer(number).ok_or(LARGE),
        (Ok(_) | Err(number::Why::Endless), Kind::Integer) => {
            Err(fault("part", "it comes to no whole number, and integers are held there"))
        }
        (Ok((number, scale)), _) => Ok(Value::Decimal(concord_plugin::value::write_decimal(number, scale))),
        (Err(number::Why::TooLarge), _) => Err(LARGE),
        (Err(number::Why::Endless), _) => Err(fault("endless", "divided, it has endless digits after the point")),
        (Err(number::Why::NoNumber), _) => Err(fault("no-number", "it is no number to calculate with")),
    }
}
