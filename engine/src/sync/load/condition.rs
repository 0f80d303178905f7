//! The condition of `--where`: which rows a load is about. It is ours alone and never reaches a database.
//!
//! ```text
//! region = 'EU' and (id >= 100 or not closed) and note is not null and kind in ('a', 'b')
//! ```
//!
//! Columns go by their shared names. What is compared with NULL is unknown, as in SQL, and unknown does not hold.

use std::cmp::Ordering;

use serde_json::Value as Document;

use crate::error::{Error, Result};
use crate::model::{Decimal, Row, Type, Value, value_from_json};
use crate::sync::settle::ordered;
use crate::sync::table::Table;

/// A condition on rows in the shared shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(Term);

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Or(Vec<Term>),
    And(Vec<Term>),
    Not(Box<Term>),
    /// A column, and what it is to be compared with; several stand for `in`.
    Compare(usize, Comparison, Vec<Value>),
    IsNull(usize),
    /// A column that is true or false.
    Is(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Condition {
    /// Reads a condition about the rows of a table.
    pub fn parse(text: &str, table: &Table) -> Result<Condition> {
        let refuse = |why: String| Error::Usage(format!("--where: {why} (table `{}`)", table.name));
        let tokens = tokens(text).map_err(refuse)?;
        let mut parser = Parser { tokens: &tokens, at: 0, table };
        let term = parser.or().map_err(refuse)?;
        match parser.tokens.get(parser.at) {
            None => Ok(Condition(term)),
            Some(token) => Err(refuse(format!("{} was not expected", token.told()))),
        }
    }

    /// Whether it holds for a row in the shared shape.
    pub fn holds(&self, row: &Row) -> bool {
        self.0.holds(row) == Some(true)
    }
}

impl Term {
    /// `None` if that is unknown.
    fn holds(&self, row: &Row) -> Option<bool> {
        match self {
            Term::Not(term) => term.holds(row).map(|holds| !holds),
            Term::And(terms) => all(terms.iter().map(|term| term.holds(row)), false),
            Term::Or(terms) => all(terms.iter().map(|term| term.holds(row)), true),
            Term::IsNull(column) => Some(row[*column].is_null()),
            Term::Is(column) => match &row[*column] {
                Value::Bool(value) => Some(*value),
                Value::Int(value) => Some(*value != 0),
                _ => None,
            },
            Term::Compare(column, comparison, values) => {
                all(values.iter().map(|value| comparison.holds(&row[*column], value)), true)
            }
        }
    }
}

/// `and` ends at the first that is false, `or` at the first that is true; what is unknown leaves it open.
fn all(mut terms: impl Iterator<Item = Option<bool>>, ends: bool) -> Option<bool> {
    let mut known = true;
    let ended = terms.any(|term| {
        known &= term.is_some();
        term == Some(ends)
    });
    match (ended, known) {
        (true, _) => Some(ends),
        (false, true) => Some(!ends),
        (false, false) => None,
    }
}

impl Comparison {
    fn holds(self, value: &Value, other: &Value) -> Option<bool> {
        if value.is_null() || other.is_null() {
            return None;
        }
        // Values of kinds that are not compared are at least not equal.
        let Some(order) = ordered(value, other) else {
            return match self {
                Comparison::Equal => Some(false),
                Comparison::Unequal => Some(true),
                _ => None,
            };
        };
        Some(match self {
            Comparison::Equal => order == Ordering::Equal,
            Comparison::Unequal => order != Ordering::Equal,
            Comparison::Less => order == Ordering::Less,
            Comparison::AtMost => order != Ordering::Greater,
            Comparison::More => order == Ordering::Greater,
            Comparison::AtLeast => order != Ordering::Less,
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A name or one of the words, as it was written.
    Word(String),
    /// A name in double quotes, which is never one of the words.
    Name(String),
    Text(String),
    Number(String),
    Sign(&'static str),
}

impl Token {
    fn told(&self) -> String {
        match self {
            Token::Word(word) | Token::Number(word) => format!("`{word}`"),
            Token::Name(name) => format!("\"{name}\""),
            // It may be what somebody would rather not see in a log.
            Token::Text(_) => "a text".to_owned(),
            Token::Sign(sign) => format!("`{sign}`"),
        }
    }
}

fn tokens(text: &str) -> std::result::Result<Vec<Token>, String> {
    const SIGNS: [&str; 10] = ["<=", ">=", "<>", "!=", "=", "<", ">", "(", ")", ","];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if let Some(quote) = Some(first).filter(|first| matches!(first, '\'' | '"')) {
            let mut inner = String::new();
            let mut chars = rest[1..].char_indices().peekable();
            let end = loop {
                match chars.next() {
                    None => return Err("a quote is not closed".to_owned()),
                    Some((at, c)) if c == quote => match chars.peek() {
                        Some((_, next)) if *next == quote => {
                            inner.push(quote);
                            chars.next();
                        }
                        _ => break at + 2,
                    },
                    Some((_, c)) => inner.push(c),
                }
            };
            tokens.push(if quote == '"' { Token::Name(inner) } else { Token::Text(inner) });
            rest = &rest[end..];
        } else if first.is_ascii_digit() || first == '-' {
            let end = rest[1..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(rest.len(), |end| end + 1);
            tokens.push(Token::Number(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            return Err(format!("`{first}` means nothing there; names with other letters stand in double quotes"));
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    table: &'a Table,
}

type Parsed<T> = std::result::Result<T, String>;

impl Parser<'_> {
    fn next(&mut self) -> Option<&Token> {
        self.at += 1;
        self.tokens.get(self.at - 1)
    }

    fn has_word(&mut self, word: &str) -> bool {
        let has = matches!(self.tokens.get(self.at), Some(Token::Word(next)) if next.eq_ignore_ascii_case(word));
        self.at += usize::from(has);
        has
    }

    fn has_sign(&mut self, sign: &str) -> bool {
        let has = matches!(self.tokens.get(self.at), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(has);
        has
    }

    fn or(&mut self) -> Parsed<Term> {
        let mut terms = vec![self.and()?];
        while self.has_word("or") {
            terms.push(self.and()?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Term::Or(terms) })
    }

    fn and(&mut self) -> Parsed<Term> {
        let mut terms = vec![self.not()?];
        while self.has_word("and") {
            terms.push(self.not()?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Term::And(terms) })
    }

    fn not(&mut self) -> Parsed<Term> {
        if self.has_word("not") {
            return Ok(Term::Not(Box::new(self.not()?)));
        }
        if self.has_sign("(") {
            let term = self.or()?;
            return if self.has_sign(")") { Ok(term) } else { Err("a `)` is missing".to_owned()) };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Parsed<Term> {
        let name = match self.next() {
            Some(Token::Word(name) | Token::Name(name)) => name.clone(),
            Some(other) => return Err(format!("a column was expected instead of {}", other.told())),
            None => return Err("a column was expected at the end".to_owned()),
        };
        let Some(column) = self.table.columns.iter().position(|column| column.name == name) else {
            let known: Vec<&str> = self.table.columns.iter().map(|column| column.name.as_str()).collect();
            return Err(format!("there is no column `{name}`; there are {}", known.join(", ")));
        };
        if self.has_word("is") {
            let not = self.has_word("not");
            if !self.has_word("null") {
                return Err("after `is` comes `null` or `not null`".to_owned());
            }
            let term = Term::IsNull(column);
            return Ok(if not { Term::Not(Box::new(term)) } else { term });
        }
        let not = self.has_word("not");
        if self.has_word("in") {
            if !self.has_sign("(") {
                return Err("after `in` comes a list in brackets".to_owned());
            }
            let mut values = vec![self.value(column)?];
            while self.has_sign(",") {
                values.push(self.value(column)?);
            }
            if !self.has_sign(")") {
                return Err("a `)` is missing".to_owned());
            }
            let term = Term::Compare(column, Comparison::Equal, values);
            return Ok(if not { Term::Not(Box::new(term)) } else { term });
        }
        if not {
            return Err("after `not` comes `in`".to_owned());
        }
        use Comparison::*;
        let signs =
            [("=", Equal), ("<>", Unequal), ("!=", Unequal), ("<", Less), ("<=", AtMost), (">", More), (">=", AtLeast)];
        for (sign, comparison) in signs {
            if self.has_sign(sign) {
                return Ok(Term::Compare(column, comparison, vec![self.value(column)?]));
            }
        }
        match self.table.columns[column].ty {
            Type::Bool | Type::Any => Ok(Term::Is(column)),
            _ => Err(format!("`{name}` is to be compared with something")),
        }
    }

    /// A value as the column has it.
    fn value(&mut self, column: usize) -> Parsed<Value> {
        let column = &self.table.columns[column];
        let (name, ty) = (column.name.clone(), column.ty.clone());
        let Some(token) = self.next() else { return Err(format!("a value for `{name}` was expected at the end")) };
        let told = token.told();
        let value = match token {
            Token::Word(word) if word.eq_ignore_ascii_case("null") => Some(Value::Null),
            Token::Word(word) if word.eq_ignore_ascii_case("true") => truth(&ty, true),
            Token::Word(word) if word.eq_ignore_ascii_case("false") => truth(&ty, false),
            Token::Number(number) => number_of(&ty, number),
            Token::Text(text) => match &ty {
                Type::Text | Type::Native(_) | Type::Any => Some(Value::text(text.as_str())),
                Type::Json => None,
                ty => value_from_json(ty, &Document::from(text.as_str())),
            },
            _ => None,
        };
        value.ok_or_else(|| format!("{told} is no value of `{name}`, which holds {ty}"))
    }
}

fn truth(ty: &Type, value: bool) -> Option<Value> {
    match ty {
        Type::Bool => Some(Value::Bool(value)),
        Type::Int | Type::Any => Some(Value::Int(value.into())),
        _ => None,
    }
}

fn number_of(ty: &Type, text: &str) -> Option<Value> {
    let integer = || text.parse::<i64>().ok().map(Value::Int).or_else(|| text.parse::<u64>().ok().map(Value::Uint));
    let float = || text.parse::<f64>().ok().map(Value::Float);
    match ty {
        Type::Int => integer(),
        Type::Decimal => Decimal::parse(text).map(Value::Decimal),
        Type::Float => float(),
        Type::Any => integer().or_else(float),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns = [
            ("id", Type::Int),
            ("region", Type::Text),
            ("price", Type::Decimal),
            ("day", Type::Date),
            ("open", Type::Bool),
            ("Größe", Type::Float),
        ];
        Table::bare(&columns, Vec::new())
    }

    fn row(region: Option<&str>) -> Row {
        let decimal = Value::Decimal(Decimal::parse("9.50").unwrap());
        let region = region.map_or(Value::Null, Value::text);
        vec![Value::Int(7), region, decimal, Value::Date(19_874), Value::Bool(true), Value::Float(1.5)].into()
    }

    #[test]
    fn conditions_hold_or_not() {
        for (text, here, nowhere) in [
            ("id = 7", true, true),
            ("id > 7 or id in (1, 7)", true, true),
            ("id not in (1, 2) and not id <> 7", true, true),
            ("region = 'E''U'", true, false),
            ("region <> 'US'", true, false),
            ("not region = 'US'", true, false),
            ("region is null", false, true),
            ("region is not null AND (id = 1 OR id = 7)", true, false),
            ("region = 'US' or id = 7", true, true),
            ("price >= 9.5 and price < 10", true, true),
            ("day >= '2024-05-01' and day <= '2024-05-31'", true, true),
            ("open and \"Größe\" > 1", true, true),
            ("not open", false, false),
            ("open = true and region != null", false, false),
            ("id = -7", false, false),
        ] {
            let condition = Condition::parse(text, &table()).unwrap();
            assert_eq!(condition.holds(&row(Some("E'U"))), here, "{text}");
            assert_eq!(condition.holds(&row(None)), nowhere, "{text} without a region");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_reason() {
        for (text, why) in [
            ("", "a column was expected at the end"),
            ("price", "`price` is to be compared with something"),
            ("cost = 1", "there is no column `cost`; there are id, region, price, day, open, Größe"),
            ("id = 'x'", "a text is no value of `id`, which holds integer"),
            ("day = 'soon'", "a text is no value of `day`, which holds date"),
            ("id = 1 id = 2", "`id` was not expected"),
            ("(id = 1", "a `)` is missing"),
            ("id = 1; drop table t", "`;` means nothing there"),
            ("region = 'x", "a quote is not closed"),
            ("id is 3", "after `is` comes `null` or `not null`"),
            ("id =", "a value for `id` was expected at the end"),
        ] {
            let error = Condition::parse(text, &table()).unwrap_err().to_string();
            assert!(error.contains(why) && error.starts_with("--where: "), "{text}: {error}");
        }
    }
}
