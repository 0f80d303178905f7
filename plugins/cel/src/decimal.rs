//! Decimal numbers, which CEL does not have: compared and calculated with all numbers, and exactly.

use std::any::Any;
use std::cmp::Ordering;

use common_expression::common::ast::operators;
use common_expression::common::traits::{Comparer, Negator};
use common_expression::common::types::{
    CelBool, CelDouble, CelInt, CelString, CelUInt, DYN_TYPE, INT_TYPE, STRING_TYPE, Type,
};
use common_expression::common::value::{CowVal, StaticVal, Val};
use common_expression::{DeclarationError, Env, ExecutionError};
use concord_plugin::value::{align, parse_decimal, write_decimal};

/// A finite number, of as many digits as it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    /// The digits before the point, without zeros in front.
    whole: Box<str>,
    /// The digits behind it, without zeros at the end.
    fraction: Box<str>,
}

static DECIMAL: Type = Type::new_unspecified_type("decimal");

impl Decimal {
    /// `-`, digits, a point and digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Decimal> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let good = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !good(whole) || !good(fraction) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let negative = digits.len() < text.len() && !(whole.is_empty() && fraction.is_empty());
        Some(Decimal { negative, whole: whole.into(), fraction: fraction.into() })
    }

    fn order(&self, other: &Decimal) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.size().cmp(&other.size()),
            (true, true) => other.size().cmp(&self.size()),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }

    /// What is larger the further it is from zero.
    fn size(&self) -> (usize, &str, &str) {
        (self.whole.len(), &self.whole, &self.fraction)
    }

    /// How it compares with any number; `None` with what is none.
    fn compared(&self, other: &dyn Val) -> Option<Ordering> {
        if let Some(other) = other.downcast_ref::<Decimal>() {
            return Some(self.order(other));
        }
        // A float is the number that is written: 0.1, and not the binary fraction beside it.
        let text = if let Some(other) = other.downcast_ref::<CelInt>() {
            other.inner().to_string()
        } else if let Some(other) = other.downcast_ref::<CelUInt>() {
            other.inner().to_string()
        } else {
            match *other.downcast_ref::<CelDouble>()?.inner() {
                f64::INFINITY => return Some(Ordering::Less),
                f64::NEG_INFINITY => return Some(Ordering::Greater),
                other => other.to_string(),
            }
        };
        Some(self.order(&Decimal::parse(&text)?))
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.negative { "-" } else { "" })?;
        f.write_str(if self.whole.is_empty() { "0" } else { &self.whole })?;
        if self.fraction.is_empty() { Ok(()) } else { write!(f, ".{}", self.fraction) }
    }
}

impl Val for Decimal {
    fn get_type(&self) -> &Type {
        &DECIMAL
    }

    fn cel_type() -> &'static Type {
        &DECIMAL
    }

    fn as_comparer(&self) -> Option<&dyn Comparer> {
        Some(self)
    }

    fn as_negator<'b, 'v>(&'b self) -> Option<&'b (dyn Negator + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn equals(&self, other: &dyn Val) -> bool {
        self.compared(other) == Some(Ordering::Equal)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Decimal {}

impl Comparer for Decimal {
    fn compare(&self, other: &dyn Val) -> Result<Ordering, ExecutionError> {
        self.compared(other).ok_or_else(|| unlike("compare", self, other))
    }
}

impl Negator for Decimal {
    fn negate<'v>(&self) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let is_zero = self.whole.is_empty() && self.fraction.is_empty();
        Ok(Box::new(Decimal { negative: !self.negative && !is_zero, ..self.clone() }))
    }
}

/// The function that does what an operator does, for decimals on either side. CEL asks the left side alone, and its own numbers
/// know nothing of decimals: `100 == row.total` would be false without a word.
pub fn exact(operator: &str) -> Option<&'static str> {
    Some(match operator {
        operators::EQUALS => "@equals",
        operators::NOT_EQUALS => "@differs",
        operators::LESS => "@less",
        operators::LESS_EQUALS => "@at_most",
        operators::GREATER => "@greater",
        operators::GREATER_EQUALS => "@at_least",
        operators::IN => "@among",
        _ => return None,
    })
}

/// The function that does what an operator does with numbers, for decimals on either side.
pub fn calculated(operator: &str) -> Option<&'static str> {
    Some(match operator {
        operators::ADD => "@plus",
        operators::SUBSTRACT => "@minus",
        operators::MULTIPLY => "@times",
        _ => return None,
    })
}

/// Declares what [`exact`] and [`calculated`] name, and `decimal`, `double` and `string` of decimals.
pub fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    let two = || vec![DYN_TYPE, DYN_TYPE];
    env.add_overload("@equals", "exactly_equals", two(), |args| Ok(bool(same(&args))))?;
    env.add_overload("@differs", "exactly_differs", two(), |args| Ok(bool(!same(&args))))?;
    env.add_overload("@less", "exactly_less", two(), |args| Ok(bool(order("<", &args)?.is_lt())))?;
    env.add_overload("@at_most", "exactly_at_most", two(), |args| Ok(bool(order("<=", &args)?.is_le())))?;
    env.add_overload("@greater", "exactly_greater", two(), |args| Ok(bool(order(">", &args)?.is_gt())))?;
    env.add_overload("@at_least", "exactly_at_least", two(), |args| Ok(bool(order(">=", &args)?.is_ge())))?;
    env.add_overload("@among", "exactly_among", two(), |args| Ok(bool(among(&args)?)))?;
    env.add_overload("@plus", "exactly_plus", two(), |args| calculate("+", &args))?;
    env.add_overload("@minus", "exactly_minus", two(), |args| calculate("-", &args))?;
    env.add_overload("@times", "exactly_times", two(), |args| calculate("*", &args))?;
    env.add_overload("decimal", "string_to_decimal", vec![STRING_TYPE], |args| {
        let text = args[0].downcast_ref::<CelString<'_>>().map(CelString::inner);
        let number = text.and_then(Decimal::parse);
        number.map(CowVal::owned).ok_or_else(|| ExecutionError::function_error("decimal", "that is no number"))
    })?;
    env.add_overload("decimal", "int_to_decimal", vec![INT_TYPE], |args| {
        let number = args[0].downcast_ref::<CelInt>().and_then(|number| Decimal::parse(&number.inner().to_string()));
        number.map(CowVal::owned).ok_or_else(|| ExecutionError::function_error("decimal", "that is no number"))
    })?;
    env.add_overload("double", "decimal_to_double", vec![DECIMAL.to_owned()], |args| {
        let number = written(&args[0]).parse().unwrap_or(f64::NAN);
        Ok(CowVal::owned(CelDouble::from(number)))
    })?;
    env.add_overload("string", "decimal_to_string", vec![DECIMAL.to_owned()], |args| {
        Ok(CowVal::owned(CelString::from(written(&args[0]))))
    })
}

fn written(number: &CowVal<'_, '_>) -> String {
    number.downcast_ref::<Decimal>().map(Decimal::to_string).unwrap_or_default()
}

fn bool<'b, 'v>(answer: bool) -> CowVal<'b, 'v> {
    CowVal::owned(CelBool::from(answer))
}

fn same(args: &[CowVal<'_, '_>]) -> bool {
    let (a, b) = (args[0].as_ref(), args[1].as_ref());
    a.equals(b) || b.equals(a)
}

fn order(operator: &str, args: &[CowVal<'_, '_>]) -> Result<Ordering, ExecutionError> {
    let (a, b) = (args[0].as_ref(), args[1].as_ref());
    let ordered = match b.downcast_ref::<Decimal>() {
        Some(decimal) => decimal.compared(a).map(Ordering::reverse),
        None => a.as_comparer().and_then(|comparer| comparer.compare(b).ok()),
    };
    ordered.ok_or_else(|| unlike(operator, a, b))
}

fn among(args: &[CowVal<'_, '_>]) -> Result<bool, ExecutionError> {
    let (one, all) = (args[0].as_ref(), args[1].as_ref());
    let container = all.as_container().ok_or_else(|| unlike("in", one, all))?;
    if container.contains(one).map_err(|_| unlike("in", one, all))? {
        return Ok(true);
    }
    let mut elements = all.as_iterable().ok_or_else(|| unlike("in", one, all))?.iter();
    while let Some(element) = elements.next() {
        if one.equals(element) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What two numbers come to, of which one is a decimal; of anything else what CEL says.
fn calculate<'b, 'v>(operator: &str, args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let (a, b) = (args[0].as_ref(), args[1].as_ref());
    let is_decimal = |value: &dyn Val| value.downcast_ref::<Decimal>().is_some();
    if !is_decimal(a) && !is_decimal(b) {
        let told = match operator {
            "+" => a.as_adder().map(|a| a.add(b)),
            "-" => a.as_subtractor().map(|a| a.sub(b)),
            _ => a.as_multiplier().map(|a| a.mul(b)),
        };
        return Ok(CowVal::Owned(told.ok_or_else(|| unlike(operator, a, b))??.into_owned()));
    }
    let (Some(one), Some(other)) = (digits(a), digits(b)) else { return Err(unlike(operator, a, b)) };
    let number = match operator {
        "*" => one.0.checked_mul(other.0).map(|number| (number, one.1 + other.1)),
        _ => align(one, other).and_then(|(one, other, scale)| {
            let number = if operator == "+" { one.checked_add(other) } else { one.checked_sub(other) };
            Some((number?, scale))
        }),
    };
    let number = number.and_then(|(number, scale)| Decimal::parse(&write_decimal(number, scale)));
    number.map(CowVal::owned).ok_or_else(|| ExecutionError::function_error(operator, "it has too many digits"))
}

/// A number as a whole one, and how many of its digits stand after the point.
fn digits(value: &dyn Val) -> Option<(i128, usize)> {
    let text = if let Some(value) = value.downcast_ref::<Decimal>() {
        value.to_string()
    } else if let Some(value) = value.downcast_ref::<CelInt>() {
        value.inner().to_string()
    } else if let Some(value) = value.downcast_ref::<CelUInt>() {
        value.inner().to_string()
    } else {
        value.downcast_ref::<CelDouble>()?.inner().to_string()
    };
    parse_decimal(&text)
}

fn unlike(operator: &str, a: &dyn Val, b: &dyn Val) -> ExecutionError {
    let name = |value: &dyn Val| value.get_type().name().to_owned();
    ExecutionError::no_such_overload(operator, vec![name(a), name(b)])
}
