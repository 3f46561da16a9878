//! Expressions of import maps: rhai without floats, with exact decimals. An expression sees the
//! row's cells as texts, the map's parameters, and look-ups; it has no other way to the world.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{AST, Dynamic, Engine, EvalAltResult, ImmutableString, Scope};
use shared::decimal;
use shared::quantity::Scaled;

use super::exact::{self, Inexact};
use super::lookup::Lookups;

/// `rust_decimal`'s type, as rhai has it; computed with only through [`exact`].
type Decimal = rust_decimal::Decimal;
type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// Bounds what one expression may do.
const OPERATIONS_MAX: u64 = 100_000;
const TEXT_MAX: usize = 64 * 1024;

/// Compiles and evaluates.
pub(super) struct Evaluator {
    engine: Engine,
    parameters: BTreeMap<String, String>,
}

/// A compiled expression and the columns it reads.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    ast: AST,
    columns: Vec<(usize, ImmutableString)>,
}

#[expect(clippy::unnecessary_box_returns, reason = "rhai's functions return it boxed")]
fn fail(error: impl std::fmt::Display) -> Box<EvalAltResult> {
    error.to_string().into()
}

fn scaled(value: Decimal) -> Fallible<Scaled> {
    decimal::from_decimal(value).map_err(|_| fail(Inexact::OutOfRange))
}

fn back(figure: Result<Scaled, Inexact>) -> Fallible<Decimal> {
    figure.map(decimal::to_decimal).map_err(fail)
}

fn whole(number: i64) -> Fallible<Decimal> {
    Scaled::new(number, 0).map(decimal::to_decimal).map_err(|_| fail(Inexact::OutOfRange))
}

fn places(decimals: i64) -> Fallible<u8> {
    match u8::try_from(decimals) {
        Ok(decimals) if decimals <= 12 => Ok(decimals),
        _ => Err(fail("decimals are 0 to 12")),
    }
}

/// Registers an operator for decimals and for a decimal with a whole number on either side.
macro_rules! operator {
    ($engine:expr, $name:literal, $result:ty, $operation:expr) => {{
        let operation: fn(Decimal, Decimal) -> Fallible<$result> = $operation;
        $engine.register_fn($name, operation);
        $engine.register_fn($name, move |one: Decimal, other: i64| operation(one, whole(other)?));
        $engine.register_fn($name, move |one: i64, other: Decimal| operation(whole(one)?, other));
    }};
}

fn comparison(
    one: Decimal,
    other: Decimal,
    holds: fn(std::cmp::Ordering) -> bool,
) -> Fallible<bool> {
    exact::compare(scaled(one)?, scaled(other)?).map(holds).map_err(fail)
}

fn number(text: &str) -> Fallible<Decimal> {
    decimal::parse(text).map(decimal::to_decimal).map_err(fail)
}

impl Evaluator {
    pub(super) fn new(parameters: BTreeMap<String, String>, lookups: Arc<Lookups>) -> Self {
        let mut engine = Engine::new();
        engine.set_max_operations(OPERATIONS_MAX);
        engine.set_max_string_size(TEXT_MAX);
        engine.set_max_expr_depths(64, 32);
        engine.set_fast_operators(false); // the built-in ones round silently
        operator!(engine, "+", Decimal, |a, b| back(exact::add(scaled(a)?, scaled(b)?)));
        operator!(engine, "-", Decimal, |a, b| back(exact::subtract(scaled(a)?, scaled(b)?)));
        operator!(engine, "*", Decimal, |a, b| back(exact::multiply(scaled(a)?, scaled(b)?)));
        operator!(engine, "/", Decimal, |a, b| back(exact::divide(scaled(a)?, scaled(b)?)));
        operator!(engine, "%", Decimal, |a, b| back(exact::remainder(scaled(a)?, scaled(b)?)));
        operator!(engine, "==", bool, |a, b| comparison(a, b, std::cmp::Ordering::is_eq));
        operator!(engine, "!=", bool, |a, b| comparison(a, b, std::cmp::Ordering::is_ne));
        operator!(engine, "<", bool, |a, b| comparison(a, b, std::cmp::Ordering::is_lt));
        operator!(engine, "<=", bool, |a, b| comparison(a, b, std::cmp::Ordering::is_le));
        operator!(engine, ">", bool, |a, b| comparison(a, b, std::cmp::Ordering::is_gt));
        operator!(engine, ">=", bool, |a, b| comparison(a, b, std::cmp::Ordering::is_ge));
        engine.register_fn("-", |a: Decimal| -a);
        engine.register_fn("abs", |a: Decimal| a.abs());
        engine.register_fn("number", |text: &str| number(text));
        engine.register_fn("replaced", |text: &str, from: &str, to: &str| text.replace(from, to));
        let div: fn(Decimal, Decimal, i64) -> Fallible<Decimal> =
            |a, b, decimals| back(exact::divide_rounded(scaled(a)?, scaled(b)?, places(decimals)?));
        engine.register_fn("div", div);
        engine.register_fn("div", move |a: Decimal, b: i64, to: i64| div(a, whole(b)?, to));
        engine.register_fn("div", move |a: i64, b: Decimal, to: i64| div(whole(a)?, b, to));
        engine.register_fn("div", move |a: i64, b: i64, to: i64| div(whole(a)?, whole(b)?, to));
        engine.register_fn("round", |a: Decimal, decimals: i64| {
            back(exact::round(scaled(a)?, places(decimals)?))
        });
        engine.register_fn("lookup", move |name: &str, key: &str, column: &str| {
            let found = lookups.find(name, key, column).map_err(fail)?;
            Ok::<_, Box<EvalAltResult>>(found.map_or(Dynamic::UNIT, |cell| cell.to_owned().into()))
        });
        Self { engine, parameters }
    }

    /// Compiles; the columns are those whose name stands in the text.
    pub(super) fn compile(&self, text: &str, header: &[String]) -> Result<Expression, String> {
        let mut scope = self.scope();
        scope.push("row", rhai::Map::new());
        let ast = self
            .engine
            .compile_expression_with_scope(&scope, text)
            .map_err(|error| format!("the expression '{text}' does not read: {error}"))?;
        let read = |(index, name): (usize, &String)| {
            (!name.is_empty() && text.contains(name.as_str())).then(|| (index, name.into()))
        };
        Ok(Expression { ast, columns: header.iter().enumerate().filter_map(read).collect() })
    }

    fn scope(&self) -> Scope<'static> {
        let mut scope = Scope::new();
        for (name, value) in &self.parameters {
            scope.push_constant(name.clone(), value.clone());
        }
        scope
    }

    fn evaluate(&self, expression: &Expression, cells: &csv::StringRecord) -> Fallible<Dynamic> {
        let mut scope = self.scope();
        let cell = |(index, name): &(usize, ImmutableString)| {
            (name.as_str().into(), cells.get(*index).unwrap_or("").into())
        };
        let row: rhai::Map = expression.columns.iter().map(cell).collect();
        scope.push_constant("row", row);
        self.engine.eval_ast_with_scope(&mut scope, &expression.ast)
    }

    /// Whether a condition holds for a row.
    pub(super) fn holds(
        &self,
        expression: &Expression,
        cells: &csv::StringRecord,
    ) -> Result<bool, String> {
        let value = self.evaluate(expression, cells).map_err(|error| error.to_string())?;
        value
            .as_bool()
            .map_err(|kind| format!("a condition is true or false, this one is a {kind}"))
    }

    /// The value of an expression for a row as text; `None` for `()` and for an empty text.
    pub(super) fn text(
        &self,
        expression: &Expression,
        cells: &csv::StringRecord,
    ) -> Result<Option<String>, String> {
        let value = self.evaluate(expression, cells).map_err(|error| error.to_string())?;
        if value.is_unit() {
            return Ok(None);
        }
        let text = match value.as_decimal() {
            Ok(number) => scaled(number).map_err(|error| error.to_string())?.to_string(),
            Err(_) => value.to_string(),
        };
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_exact_and_see_the_row() {
        let parameters = BTreeMap::from([("site".to_owned(), "1".to_owned())]);
        let evaluator = Evaluator::new(parameters, Arc::default());
        let header = ["ProductID", "PO / SO #", "Price"].map(str::to_owned);
        let cells = csv::StringRecord::from(vec!["784", "SO-7", "0.1"]);
        for (text, expected) in [
            ("number(row.ProductID) % 3", Ok(Some("1"))),
            ("number(row.ProductID) % 3 == number(site)", Ok(Some("true"))),
            (r#"row["PO / SO #"] + "!""#, Ok(Some("SO-7!"))),
            ("number(row.Price) + 0.2", Ok(Some("0.3"))),
            ("number(row.Price) * 3 == 0.3", Ok(Some("true"))),
            ("1.0 / 3", Err("leaves a rest")),
            ("div(1.0, 3.0, 4)", Ok(Some("0.3333"))),
            ("div(number(row.ProductID), 100, 1) + div(1, 8, 3)", Ok(Some("7.925"))),
            ("round(2.345, 2)", Ok(Some("2.35"))),
            ("-number(row.Price)", Ok(Some("-0.1"))),
            (r#"if row.Price == "" { () } else { row.Price }"#, Ok(Some("0.1"))),
            ("()", Ok(None)),
            ("9007199254740991.0 + 0.1", Err("more than 15 digits")),
            (r#"number("x")"#, Err("is not a decimal number")),
            ("while true {}", Err("does not read")),
            (r#"row.ProductID.split("8")[0]"#, Ok(Some("7"))),
        ] {
            let found = evaluator
                .compile(text, &header)
                .and_then(|expression| evaluator.text(&expression, &cells));
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.as_deref(), expected, "{text}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{text}: {found}"),
                _ => panic!("{text}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
