//! Numbers with a point or an exponent as they are written: CEL makes floats of them, which tell no more than about 17 digits apart.

use common_expression::common::ast::{Expr, IdedExpr, LiteralValue};
use concord_plugin::{Problem, problem};
use regex::Regex;

use crate::decimal::Decimal;
use crate::expression::children;

/// Texts, comments and names, in which no number stands, and numbers with a point or an exponent.
const TOKENS: &str = concat!(
    r#"(?s)[rR](?:'[^']*'|"[^"]*")|'''.*?'''|""".*?"""|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|//[^\n]*"#,
    r"|[A-Za-z_][A-Za-z0-9_]*|([0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)",
);

/// What lies beyond are no floats: the largest has 309 digits, and the smallest 324 behind the point.
const MOST_ZEROS: usize = 400;

/// Refuses a number that would be another one than is written, for where decimals are compared with it.
pub fn refuse_others(source: &str, tree: &mut IdedExpr) -> Result<(), Problem> {
    let tokens = Regex::new(TOKENS).map_err(|why| problem("number", why.to_string()))?;
    let mut floats = Vec::new();
    collect(tree, &mut floats);
    for number in tokens.captures_iter(source).filter_map(|token| token.get(1)) {
        let written = number.as_str();
        let Ok(read) = written.parse::<f64>() else { continue };
        let number = decimal(written);
        if floats.contains(&read) && (number.is_none() || number != Decimal::parse(&read.to_string())) {
            return Err(Problem {
                hint: number.map(|number| format!("write decimal('{number}')")),
                ..problem("number", format!("{written} has more digits than are told apart here, and would be {read}"))
            });
        }
    }
    Ok(())
}

/// The number that is written; `None` if its exponent is beyond all floats.
fn decimal(written: &str) -> Option<Decimal> {
    let (mantissa, exponent) = written.split_once(['e', 'E']).unwrap_or((written, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.parse::<isize>().ok().filter(|exponent| exponent.unsigned_abs() <= MOST_ZEROS)?;
    let zeros = "0".repeat(exponent.unsigned_abs());
    // Where the point goes to the left the zeros stand in front, and all digits of the whole number behind it.
    let (digits, point) = match exponent < 0 {
        true => (format!("{zeros}{whole}{fraction}"), whole.len()),
        false => (format!("{whole}{fraction}{zeros}"), whole.len() + zeros.len()),
    };
    let (whole, fraction) = digits.split_at(point);
    Decimal::parse(&format!("0{whole}.{fraction}0"))
}

/// The floats that stand in an expression, without their signs.
fn collect(node: &mut IdedExpr, floats: &mut Vec<f64>) {
    if let Expr::Literal(LiteralValue::Double(float)) = &node.expr {
        floats.push(float.inner().abs());
    }
    children(&mut node.expr).into_iter().for_each(|child| collect(child, floats));
}
