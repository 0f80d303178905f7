//! What an expression says that is the same for every row: made once.

use std::any::Any;

use common_expression::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};
use common_expression::common::types::{CelBool, CelString, STRING_TYPE, Type};
use common_expression::common::value::{CowVal, StaticVal, Val};
use common_expression::{Context, DeclarationError, Env, ExecutionError, Value as Outcome};
use concord_plugin::{Problem, problem};
use regex::Regex;

use crate::cell;
use crate::expression::children;

/// Puts constants in the place of all that mentions no column, and refuses times, numbers and patterns that are none.
pub fn fold(
    node: &mut IdedExpr,
    nothing: &Context<'static, 'static>,
    constants: &mut Vec<Box<dyn Val>>,
) -> Result<(), Problem> {
    let mut keep = |value| {
        constants.push(value);
        Expr::Ident(cell::constant(constants.len() - 1))
    };
    if matches!(node.expr, Expr::Literal(_) | Expr::Ident(_)) {
        return Ok(());
    }
    if !has_names(&mut node.expr) {
        match Outcome::resolve_val(node, nothing) {
            Ok(value) => {
                let value = value.into_owned();
                node.expr = keep(value);
                return Ok(());
            }
            Err(ExecutionError::FunctionError { function, message }) => {
                return Err(problem("constant", format!("`{function}` is given what it is not for: {message}")));
            }
            // It matters only where a row comes to it.
            Err(_) => {}
        }
    }
    if let Expr::Call(call) = &mut node.expr
        && let Some(pattern) = pattern_of(call)
    {
        let pattern = Regex::new(pattern).map_err(|why| problem("pattern", why.to_string()))?;
        let pattern = IdedExpr { id: 0, expr: keep(Box::new(Pattern(pattern))) };
        call.args.pop();
        call.args.extend(call.target.take().map(|target| *target));
        call.args.push(pattern);
        "@matches".clone_into(&mut call.func_name);
    }
    children(&mut node.expr).into_iter().try_for_each(|child| fold(child, nothing, constants))
}

fn has_names(expr: &mut Expr) -> bool {
    matches!(expr, Expr::Ident(_) | Expr::Comprehension(_))
        || children(expr).into_iter().any(|child| has_names(&mut child.expr))
}

/// The pattern of a call of `matches`, if it is written there.
fn pattern_of(call: &CallExpr) -> Option<&str> {
    match (&call.target, &call.args[..]) {
        (Some(_), [pattern]) | (None, [_, pattern]) if call.func_name == "matches" => match &pattern.expr {
            Expr::Literal(LiteralValue::String(pattern)) => Some(pattern.inner()),
            _ => None,
        },
        _ => None,
    }
}

/// A pattern that was read.
#[derive(Clone, Debug)]
struct Pattern(Regex);

const PATTERN: Type = Type::new_unspecified_type("pattern");

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        static TYPE: Type = PATTERN;
        &TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

/// Declares what [`fold`] puts in the place of `matches`.
pub fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload("@matches", "matches_pattern", vec![STRING_TYPE, PATTERN], |args| {
        let text = args[0].downcast_ref::<CelString<'_>>().map(CelString::inner);
        let pattern = args[1].downcast_ref::<Pattern>();
        let answer = text.zip(pattern).is_some_and(|(text, pattern)| pattern.0.is_match(text));
        Ok(CowVal::owned(CelBool::from(answer)))
    })
}
