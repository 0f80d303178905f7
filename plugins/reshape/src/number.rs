//! Exact decimal numbers: multiplied and divided without rounding, or not at all.

use concord_plugin::Value;
use concord_plugin::value::parse_decimal;

/// What a number is multiplied with, as a fraction of two decimals.
pub struct Factor {
    above: (i128, usize),
    below: (i128, usize),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Why {
    /// It is no finite number.
    NoNumber,
    TooLarge,
    /// The quotient has no end.
    Endless,
}

impl Factor {
    /// Of the number as it is written. `None` if it is zero, or none that can be calculated with.
    pub fn multiply(text: &str) -> Option<Factor> {
        Some(Factor { above: parse_decimal(text).filter(|(number, _)| *number != 0)?, below: (1, 0) })
    }

    pub fn divide(text: &str) -> Option<Factor> {
        Factor::multiply(text).map(|factor| factor.inverse())
    }

    pub fn inverse(&self) -> Factor {
        Factor { above: self.below, below: self.above }
    }

    /// The product, as a whole number and how many of its digits stand after the point; none of these is a zero at the end.
    pub fn times(&self, value: &Value) -> Result<(i128, usize), Why> {
        let (number, scale) = match value {
            Value::Decimal(text) => match text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit()) {
                true => parse_decimal(text).ok_or(Why::TooLarge)?,
                false => return Err(Why::NoNumber),
            },
            other => (other.as_integer().ok_or(Why::NoNumber)?, 0),
        };
        let mut above = number.checked_mul(self.above.0).ok_or(Why::TooLarge)?;
        let shared = gcd(above.unsigned_abs(), self.below.0.unsigned_abs()).cast_signed();
        above = above / shared * self.below.0.signum();
        let (twos, fives, rest) = of_ten((self.below.0 / shared).unsigned_abs());
        if rest != 1 {
            return Err(Why::Endless);
        }
        let digits = twos.max(fives);
        let raise = |number: i128, base: i128, by: u32| number.checked_mul(base.checked_pow(by)?);
        above =
            raise(above, 2, digits - twos).and_then(|above| raise(above, 5, digits - fives)).ok_or(Why::TooLarge)?;
        let mut scale = (scale + self.above.1 + digits as usize).cast_signed() - self.below.1.cast_signed();
        while scale > 0 && above % 10 == 0 {
            (above, scale) = (above / 10, scale - 1);
        }
        while scale < 0 {
            (above, scale) = (above.checked_mul(10).ok_or(Why::TooLarge)?, scale + 1);
        }
        Ok((above, scale.unsigned_abs()))
    }
}

/// The greatest number that divides both. `b` is not zero.
fn gcd(mut a: u128, mut b: u128) -> u128 {
    while a != 0 {
        (a, b) = (b % a, a);
    }
    b
}

/// How often two and five divide a number that is not zero, and what is left.
fn of_ten(mut number: u128) -> (u32, u32, u128) {
    let mut counts = [0, 0];
    for (count, by) in counts.iter_mut().zip([2, 5]) {
        while number.is_multiple_of(by) {
            (number, *count) = (number / by, *count + 1);
        }
    }
    (counts[0], counts[1], number)
}
