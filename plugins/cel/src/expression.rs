//! From text to an expression whose names are resolved, and from rows to what it comes to.

use std::sync::Arc;

use common_expression::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use common_expression::common::types::CelBool;
use common_expression::common::value::Val;
use common_expression::{Context, Env, ExecutionError, Value as Outcome, extensions};
use concord_plugin::{Column, Kind, Problem, Table, Value, problem};

use crate::cell::{self, Cells};
use crate::{constant, decimal, number};

/// A row that an expression has, by the name under which it has it.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub name: &'static str,
    pub table: &'a Table,
}

pub struct Expression {
    /// Where the configuration has it.
    pub at: String,
    tree: IdedExpr,
    source: String,
    env: Arc<Env>,
    constants: Vec<Box<dyn Val>>,
    /// The columns that it mentions. Their cells are what it is asked about.
    pub columns: Vec<Mentioned>,
}

/// A column in an expression.
#[derive(Clone)]
pub struct Mentioned {
    /// The place of its row among the scopes.
    pub scope: usize,
    /// Its own place in the row.
    pub place: usize,
    pub column: Column,
    /// How it is written.
    written: String,
}

impl Expression {
    /// Refuses what cannot be parsed, and what mentions what is not there.
    pub fn compile(at: &str, source: &str, scopes: &[Scope<'_>]) -> Result<Expression, Problem> {
        let mut env = Env::stdlib();
        decimal::declare(&mut env)
            .and_then(|()| constant::declare(&mut env))
            .and_then(|()| env.add_extension(extensions::strings))
            .map_err(|why| problem("declaration", why.to_string()))?;
        let mut tree = env.parser().parse(source).map_err(|why| syntax(at, &why))?;
        let env = Arc::new(env);
        let mut names = Names {
            at,
            scopes,
            columns: Vec::new(),
            bound: Vec::new(),
            decimals: false,
            nothing: Context::with_env(env.clone()),
        };
        names.resolve(&mut tree)?;
        let Names { columns, decimals, nothing, .. } = names;
        if decimals || columns.iter().any(|one| one.column.kind() == Kind::Decimal) {
            number::refuse_others(source, &mut tree)?;
        }
        if decimals || columns.iter().any(|one| matches!(one.column.kind(), Kind::Decimal | Kind::Any)) {
            compare_exactly(&mut tree);
        }
        let mut constants = Vec::new();
        constant::fold(&mut tree, &nothing, &mut constants)?;
        Ok(Expression { at: at.to_owned(), tree, source: source.to_owned(), env, constants, columns })
    }

    /// The column that it is, if it is nothing else.
    pub fn bare(&self) -> Option<&Mentioned> {
        match &self.tree.expr {
            Expr::Ident(name) => self.columns.get(cell::place(name)?),
            _ => None,
        }
    }

    /// Whether it is true of a row, given as the cells of its columns.
    pub fn holds(&self, row: &[Value]) -> Result<bool, Problem> {
        self.come_to(&row.iter().collect::<Vec<_>>(), |outcome| match outcome.downcast_ref::<CelBool>() {
            Some(answer) => Ok(*answer.inner()),
            None => {
                let kind = outcome.get_type().name();
                let message = format!("`{}` is neither true nor false, but of type {kind}", self.at);
                Err(problem("not-boolean", message))
            }
        })
    }

    /// What is made of what it comes to, given the cells of its columns.
    pub fn come_to<T>(&self, row: &[&Value], then: impl FnOnce(&dyn Val) -> Result<T, Problem>) -> Result<T, Problem> {
        let mut row_cells = Vec::with_capacity(row.len());
        for (value, Mentioned { column: Column { name, .. }, .. }) in row.iter().zip(&self.columns) {
            row_cells.push(cell::value(value).map_err(|why| Problem {
                column: Some(name.clone()),
                ..problem("value", format!("`{name}` {why}"))
            })?);
        }
        let cells = Cells { row: row_cells, constants: &self.constants };
        let mut context = Context::with_env(self.env.clone());
        context.set_variable_resolver(&cells);
        match Outcome::resolve_val(&self.tree, &context) {
            Ok(outcome) => then(outcome.as_ref()),
            Err(why) => Err(self.failed(&why, row)),
        }
    }

    /// Why it failed, without the values of the row, which are nobody else's business.
    fn failed(&self, why: &ExecutionError, row: &[&Value]) -> Problem {
        let at = &self.at;
        // The library takes a decimal, which it does not know, for NULL.
        let is_decimal = |one: &Mentioned| one.column.kind() == Kind::Decimal;
        let decimals = self.columns.iter().any(is_decimal) || self.source.contains("decimal(");
        let decimals = decimals && !row.iter().any(|value| value.is_null());
        let kind = |value: &Outcome| match value {
            Outcome::Float(_) => "double".to_owned(),
            Outcome::Null if decimals => "decimal".to_owned(),
            Outcome::Null => "null_type".to_owned(),
            value => value.type_of().to_string(),
        };
        let (code, message) = match why {
            ExecutionError::NoSuchKey(key) if self.source.contains(key.as_str()) => {
                ("no-such-key", format!("`{at}` asks for `{key}`, which is not there"))
            }
            ExecutionError::NoSuchKey(_) => ("no-such-key", format!("`{at}` asks for a key that is not there")),
            ExecutionError::IndexOutOfBounds(_) => {
                ("no-such-key", format!("`{at}` asks for an element that is not there"))
            }
            ExecutionError::NoSuchOverload(why) => {
                let function = why.function().trim_matches(['_', '@']);
                ("kind", format!("`{at}` cannot do `{function}` with {}", why.argument_types().join(" and ")))
            }
            ExecutionError::UnexpectedType { got, want } => ("kind", format!("`{at}` has {got} where it takes {want}")),
            ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
                let sign = match *operator {
                    "add" => "+",
                    "sub" => "-",
                    "mul" => "*",
                    "div" => "/",
                    "rem" => "%",
                    other => other,
                };
                ("kind", format!("`{at}` cannot do `{sign}` with {} and {}", kind(left), kind(right)))
            }
            ExecutionError::Overflow(operator, ..) => ("overflow", format!("what `{operator}` gives is too large")),
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
                ("division-by-zero", format!("`{at}` divides by zero"))
            }
            ExecutionError::FunctionError { function, .. } => {
                ("function", format!("`{function}` cannot make anything of what it is given"))
            }
            _ => ("failed", format!("`{at}` cannot be told")),
        };
        // Of a column that has nothing to do with it nobody wants to hear.
        let is_given = |given: &str| match why {
            ExecutionError::NoSuchOverload(why) => why.argument_types().iter().any(|kind| kind == given),
            ExecutionError::UnexpectedType { got, .. } => *got == given,
            ExecutionError::UnsupportedBinaryOperator(_, left, right) => kind(left) == given || kind(right) == given,
            _ => false,
        };
        let first = |is: fn(&Value) -> bool| {
            let found = row.iter().zip(&self.columns).find(|(value, _)| is(value));
            found.map(|(_, one)| (&one.column.name, &one.written))
        };
        let is_nan = |value: &Value| match value {
            Value::Decimal(number) => number == "NaN",
            Value::Float(number) => number.is_nan(),
            _ => false,
        };
        let empty = first(Value::is_null).filter(|_| is_given("null_type"));
        let nan = first(is_nan).filter(|_| is_given("double"));
        let is_moment = ["google.protobuf.Timestamp", "google.protobuf.Duration"].into_iter().any(is_given);
        let is_looked_into = matches!(why, ExecutionError::NoSuchOverload(why) if why.function() == "_._");
        // A column of kind `any` is what is stored, and no time or document is made of its text.
        let is_stored =
            |(value, one): &(&&Value, &Mentioned)| one.column.kind() == Kind::Any && matches!(value, Value::Text(_));
        let mut stored = row.iter().zip(&self.columns).filter(is_stored).map(|(_, one)| one);
        let stored = (stored.next().filter(|_| is_given("string") && (is_moment || is_looked_into)), stored.next());
        let hint = match (empty, nan) {
            (Some((name, written)), _) => Some(format!("`{name}` is NULL here; ask `{written} != null && …` first")),
            (None, Some((name, written))) => {
                Some(format!("`{name}` is NaN here, which is in no order; ask `{written} == {written} && …` first"))
            }
            (None, None) if stored.0.is_some() => Some(match stored {
                (Some(Mentioned { column, written, .. }), None) => format!(
                    "`{}` is a text here, as it is stored: between files of SQLite alone nothing else is made of it; compare it with a text \
                     of that form, such as {written} > '2024-01-31'",
                    column.name
                ),
                // Which of them it was nobody tells.
                _ => "columns are texts here, as they are stored: between files of SQLite alone nothing else is made of them; compare them \
                      with texts of that form, such as row.NAME > '2024-01-31'"
                    .to_owned(),
            }),
            (None, None) if is_given("double") && (is_given("int") || is_given("uint")) => {
                let hint = "decimals go with integers and are exact: write decimal('0.01') for a number with a point, and \
                            decimal(string(…)) for a float";
                Some(hint.to_owned())
            }
            (None, None) => None,
        };
        Problem { hint, ..problem(code, message) }
    }
}

fn syntax(at: &str, why: &common_expression::ParseErrors) -> Problem {
    let Some(first) = why.errors.first() else { return problem("syntax", "it is no expression") };
    let (line, column) = first.pos;
    problem("syntax", format!("`{at}` cannot be read at line {line}, column {column}: {}", first.msg))
}

/// Resolves the names in an expression.
struct Names<'a> {
    at: &'a str,
    scopes: &'a [Scope<'a>],
    columns: Vec<Mentioned>,
    /// The variables of the comprehensions around, the innermost last.
    bound: Vec<String>,
    /// Whether it makes decimals.
    decimals: bool,
    /// Where there are functions and types, and no variables.
    nothing: Context<'static, 'static>,
}

impl Names<'_> {
    /// Puts the names of cells in the place of columns, and refuses what is not there.
    fn resolve(&mut self, node: &mut IdedExpr) -> Result<(), Problem> {
        if let Some((scope, name)) = self.column_of(&node.expr)? {
            node.expr = Expr::Ident(cell::name(self.place(scope, &name)?));
            return Ok(());
        }
        if self.is_free(node) && self.ask(node).is_ok() {
            // The name of a type.
            return Ok(());
        }
        match &mut node.expr {
            Expr::Ident(name) if name.starts_with('@') || self.bound.contains(name) => Ok(()),
            Expr::Ident(name) => Err(self.unknown(name)),
            Expr::Call(call) => self.resolve_call(call),
            Expr::Comprehension(loops) => {
                self.resolve(&mut loops.iter_range)?;
                self.resolve(&mut loops.accu_init)?;
                let before = self.bound.len();
                for name in [Some(&loops.iter_var), loops.iter_var2.as_ref()].into_iter().flatten() {
                    if self.scope(name).is_some() {
                        return Err(problem("name", format!("`{name}` is the row, and no name for anything else")));
                    }
                    self.bound.push(name.clone());
                }
                [&mut loops.loop_cond, &mut loops.loop_step, &mut loops.result]
                    .into_iter()
                    .try_for_each(|part| self.resolve(part))?;
                self.bound.truncate(before);
                Ok(())
            }
            expr => children(expr).into_iter().try_for_each(|child| self.resolve(child)),
        }
    }

    fn resolve_call(&mut self, call: &mut CallExpr) -> Result<(), Problem> {
        call.args.iter_mut().try_for_each(|arg| self.resolve(arg))?;
        self.fits(call)?;
        let is_function =
            call.func_name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !call.func_name.starts_with('_');
        if !is_function {
            return Ok(());
        }
        self.decimals |= call.func_name == "decimal";
        // Called without arguments, a function that is there only complains of them.
        let mut bare = CallExpr { args: Vec::new(), ..call.clone() };
        if let Some(target) = &mut call.target {
            if self.is_free(target) && self.knows(&bare) {
                // It is called by its whole name, such as `optional.of`.
                return Ok(());
            }
            self.resolve(target)?;
            bare.target = Some(Box::new(IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Null) }));
        }
        if self.knows(&bare) {
            return Ok(());
        }
        Err(problem("unknown-function", format!("there is no function `{}`", call.func_name)))
    }

    fn knows(&self, call: &CallExpr) -> bool {
        let call = IdedExpr { id: 0, expr: Expr::Call(call.clone()) };
        !matches!(self.ask(&call), Err(ExecutionError::UndeclaredReference(_)))
    }

    /// What an expression comes to where there is no row.
    fn ask(&self, node: &IdedExpr) -> Result<(), ExecutionError> {
        Outcome::resolve_val(node, &self.nothing).map(|_| ())
    }

    /// Whether it is a name, perhaps with points in it, and not one that is bound here.
    fn is_free(&self, node: &IdedExpr) -> bool {
        match &node.expr {
            Expr::Ident(name) => self.scope(name).is_none() && !name.starts_with('@') && !self.bound.contains(name),
            Expr::Select(select) => !select.test && self.is_free(&select.operand),
            _ => false,
        }
    }

    /// The place of a row by its name.
    fn scope(&self, name: &str) -> Option<usize> {
        self.scopes.iter().position(|scope| scope.name == name)
    }

    /// The column that an expression is: `row.name` or `row['name']`.
    fn column_of(&self, expr: &Expr) -> Result<Option<(usize, String)>, Problem> {
        let row = |node: &IdedExpr| match &node.expr {
            Expr::Ident(name) => self.scope(name),
            _ => None,
        };
        match expr {
            Expr::Select(select) => match row(&select.operand) {
                Some(scope) if select.test => Err(Problem {
                    hint: Some(format!("ask `{}.{} != null`", self.scopes[scope].name, select.field)),
                    ..problem("has", "every row has all columns")
                }),
                scope => Ok(scope.map(|scope| (scope, select.field.clone()))),
            },
            Expr::Call(call) if call.func_name == operators::INDEX => match &call.args[..] {
                [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] => {
                    Ok(row(of).map(|scope| (scope, name.inner().to_owned())))
                }
                _ => Ok(None),
            },
            Expr::Ident(name) if self.scope(name).is_some() => {
                Err(problem("row", format!("`{name}` stands before a column: `{name}.name` or `{name}['its name']`")))
            }
            _ => Ok(None),
        }
    }

    /// The place of a column among those that are mentioned.
    fn place(&mut self, scope: usize, name: &str) -> Result<usize, Problem> {
        let is_it = |one: &Mentioned| one.scope == scope && one.column.name == name;
        if let Some(place) = self.columns.iter().position(is_it) {
            return Ok(place);
        }
        let Scope { name: row, table } = self.scopes[scope];
        let Some(place) = table.columns.iter().position(|column| column.name == name) else {
            return Err(Problem {
                column: Some(name.to_owned()),
                hint: Some(hint(table)),
                ..problem("unknown-column", format!("`{}` has no such column", table.name))
            });
        };
        let written = format!("{row}.{name}");
        self.columns.push(Mentioned { scope, place, column: table.columns[place].clone(), written });
        Ok(self.columns.len() - 1)
    }

    fn unknown(&self, name: &str) -> Problem {
        let is_column = |scope: &&Scope<'_>| scope.table.columns.iter().any(|column| column.name == name);
        match self.scopes.iter().find(is_column) {
            Some(Scope { name: row, .. }) => Problem {
                hint: Some(format!("write `{row}.{name}`")),
                ..problem("unknown-name", format!("`{name}` is a column, which stands behind `{row}.`"))
            },
            None => Problem {
                hint: Some(hint(self.scopes[0].table)),
                ..problem("unknown-name", format!("`{name}` is nothing that `{}` could mean", self.at))
            },
        }
    }

    /// Refuses to compare a column with what it can never be: CEL would call that unequal of every row.
    fn fits(&self, call: &CallExpr) -> Result<(), Problem> {
        if decimal::exact(&call.func_name).is_none() {
            return Ok(());
        }
        let [a, b] = &call.args[..] else { return Ok(()) };
        for (one, other) in [(a, b), (b, a)] {
            let Expr::Ident(name) = &one.expr else { continue };
            let Some(Mentioned { column, .. }) = cell::place(name).and_then(|place| self.columns.get(place)) else {
                continue;
            };
            let others = match &other.expr {
                Expr::List(list) if call.func_name == operators::IN => &list.elements[..],
                _ => std::slice::from_ref(other),
            };
            for other in others {
                let Expr::Literal(literal) = &other.expr else { continue };
                if !may_be(column.kind(), literal) && (call.func_name != operators::IN || std::ptr::eq(one, a)) {
                    let hint = match column.kind() {
                        Kind::Date | Kind::Timestamp | Kind::Instant => Some("write timestamp('2024-01-31T00:00:00Z')"),
                        Kind::Any => {
                            Some("between files of SQLite alone it is what is stored: write 1 for true and 0 for false")
                        }
                        _ => None,
                    };
                    return Err(Problem {
                        column: Some(column.name.clone()),
                        hint: hint.map(str::to_owned),
                        ..problem(
                            "kind",
                            format!("its values are of kind {}, and never {}", column.kind, kind_of(literal)),
                        )
                    });
                }
            }
        }
        Ok(())
    }
}

fn hint(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    format!("it has: {}", names.join(", "))
}

/// The parts of an expression.
pub fn children(expr: &mut Expr) -> Vec<&mut IdedExpr> {
    match expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.as_deref_mut().into_iter().chain(&mut call.args).collect(),
        Expr::Comprehension(loops) => {
            let loops = &mut **loops;
            vec![
                &mut loops.iter_range,
                &mut loops.accu_init,
                &mut loops.loop_cond,
                &mut loops.loop_step,
                &mut loops.result,
            ]
        }
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Map(map) => map.entries.iter_mut().flat_map(|entry| entry_parts(&mut entry.expr)).collect(),
        Expr::Select(select) => vec![&mut select.operand],
        Expr::Struct(made) => made.entries.iter_mut().flat_map(|entry| entry_parts(&mut entry.expr)).collect(),
    }
}

fn entry_parts(entry: &mut EntryExpr) -> Vec<&mut IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&mut field.value],
        EntryExpr::MapEntry(entry) => vec![&mut entry.key, &mut entry.value],
    }
}

/// Compares and calculates by functions that know decimals.
fn compare_exactly(node: &mut IdedExpr) {
    if let Expr::Call(call) = &mut node.expr
        && let Some(exact) = decimal::exact(&call.func_name).or_else(|| decimal::calculated(&call.func_name))
    {
        exact.clone_into(&mut call.func_name);
    }
    children(&mut node.expr).into_iter().for_each(compare_exactly);
}

fn may_be(kind: Kind, literal: &LiteralValue) -> bool {
    use LiteralValue::*;
    match kind {
        Kind::Json => true,
        // Nothing that SQLite stores is true or false.
        Kind::Any => !matches!(literal, Boolean(_)),
        _ if matches!(literal, Null) => true,
        Kind::Boolean => matches!(literal, Boolean(_)),
        Kind::Integer | Kind::Float | Kind::Decimal => matches!(literal, Int(_) | UInt(_) | Double(_)),
        Kind::Text | Kind::Uuid | Kind::Native => matches!(literal, String(_)),
        Kind::Bytes => matches!(literal, Bytes(_)),
        Kind::Date | Kind::Time | Kind::Timestamp | Kind::Instant => false,
    }
}

fn kind_of(literal: &LiteralValue) -> &'static str {
    match literal {
        LiteralValue::Boolean(_) => "true or false",
        LiteralValue::Bytes(_) => "bytes",
        LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => "a number",
        LiteralValue::Null => "null",
        LiteralValue::String(_) => "a text",
    }
}
