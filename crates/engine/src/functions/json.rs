//! `->`, `->>`, `#>` and `#>>`: parts of a JSON text, as they are written there.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringViewBuilder},
    compute::cast,
    datatypes::DataType,
};
use datafusion::{
    common::{DFSchema, DataFusionError},
    logical_expr::{
        Expr, ExprSchemable, ReturnFieldArgs, ScalarUDF,
        expr::ScalarFunction,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
};
use serde::de::IgnoredAny;
use weir_model::{Code, ColumnType, Refusal, read_array};
use weir_sql::ast::BinaryOperator;

use super::{
    array_text,
    plain::{Plain, any},
};
use crate::types::{is_text, scalar_type};

/// Plans the operators as calls.
#[derive(Debug)]
pub(crate) struct JsonParts {
    part: Arc<ScalarUDF>,
    text: Arc<ScalarUDF>,
    path: Arc<ScalarUDF>,
    path_text: Arc<ScalarUDF>,
}

impl JsonParts {
    pub(crate) fn new() -> JsonParts {
        let make = |name, returns, run| Plain::new(name, any(&[2]), returns, run).function();
        JsonParts {
            part: make("weir_json_part", as_left, |a| parts(a, Form::Json, one_step)),
            text: make("weir_json_text", |_| Ok(ColumnType::Text), |a| parts(a, Form::Text, one_step)),
            path: make("weir_json_path", as_left, |a| parts(a, Form::Json, all_steps)),
            path_text: make("weir_json_path_text", |_| Ok(ColumnType::Text), |a| parts(a, Form::Text, all_steps)),
        }
    }
}

/// The kind of JSON that the left operand is.
fn as_left(arguments: &ReturnFieldArgs<'_>) -> Result<ColumnType, DataFusionError> {
    let field = arguments.arg_fields.first().map(|field| scalar_type(field));
    Ok(field.unwrap_or(ColumnType::Json))
}

impl ExprPlanner for JsonParts {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>, DataFusionError> {
        let function = match expr.op {
            BinaryOperator::Arrow => &self.part,
            BinaryOperator::LongArrow => &self.text,
            BinaryOperator::HashArrow => &self.path,
            BinaryOperator::HashLongArrow => &self.path_text,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let left = expr.left.to_field(schema).map(|(_, field)| scalar_type(&field));
        if !matches!(left, Ok(ColumnType::Json | ColumnType::Jsonb)) {
            return Err(crate::error::external(
                Refusal::new(Code::UndefinedFunction, format!("operator {} takes json or jsonb", expr.op))
                    .hint("cast the left side to json"),
            ));
        }
        let call = ScalarFunction::new_udf(Arc::clone(function), vec![expr.left, expr.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    /// A string's own text; null is NULL.
    Text,
}

/// A key of an object, or a place in an array.
enum Step {
    Key(String),
    Place(i64),
    /// Of a path: a place where an array is met, else a key.
    Either(String),
}

type Steps = fn(&ArrayRef, usize) -> Result<Option<Vec<Step>>, Refusal>;

fn one_step(array: &ArrayRef, row: usize) -> Result<Option<Vec<Step>>, Refusal> {
    if array.is_null(row) {
        return Ok(None);
    }
    if let Some(text) = array.as_string_view_opt() {
        return Ok(Some(vec![Step::Key(text.value(row).to_owned())]));
    }
    if let Some(place) = array.as_primitive_opt::<arrow::datatypes::Int64Type>() {
        return Ok(Some(vec![Step::Place(place.value(row))]));
    }
    Ok(None)
}

fn all_steps(array: &ArrayRef, row: usize) -> Result<Option<Vec<Step>>, Refusal> {
    if array.is_null(row) {
        return Ok(None);
    }
    let Some(text) = array.as_string_view_opt() else {
        return Err(Refusal::unsupported("a path that is not written as '{a,b}'"));
    };
    let text = text.value(row);
    let elements = read_array(text).map_err(|fault| array_text::refusal(fault, text))?;
    Ok(elements.into_iter().map(|element| element.map(Step::Either)).collect())
}

fn parts(arguments: &[ArrayRef], form: Form, steps: Steps) -> Result<ArrayRef, Refusal> {
    let [values, wanted] = arguments else { return Err(Refusal::new(Code::Internal, "an operand is missing")) };
    let wrong = |_| Refusal::new(Code::UndefinedFunction, "a part of JSON is named by a text or an integer");
    let values = cast(values, &DataType::Utf8View).map_err(wrong)?;
    let wanted = match wanted.data_type() {
        kind if is_text(kind) => cast(wanted, &DataType::Utf8View).map_err(wrong)?,
        kind if kind.is_integer() => cast(wanted, &DataType::Int64).map_err(wrong)?,
        DataType::Null => return Ok(arrow::array::new_null_array(&DataType::Utf8View, values.len())),
        other => return Err(Refusal::unsupported(format!("a part of JSON named by {other}"))),
    };
    let values = values.as_string_view();
    let mut out = StringViewBuilder::with_capacity(values.len());
    for row in 0..values.len() {
        let steps = if values.is_null(row) { None } else { steps(&wanted, row)? };
        let found =
            steps.and_then(|steps| steps.iter().try_fold(values.value(row).trim(), |json, step| part(json, step)));
        match (found, form) {
            (None, _) | (Some("null"), Form::Text) => out.append_null(),
            (Some(json), Form::Text) if json.starts_with('"') => {
                let text: String = serde_json::from_str(json)
                    .map_err(|_| Refusal::new(Code::InvalidTextRepresentation, "invalid text in JSON"))?;
                out.append_value(text);
            }
            (Some(json), _) => out.append_value(json),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// The part of a JSON value that a step leads to, trimmed.
fn part<'a>(json: &'a str, step: &Step) -> Option<&'a str> {
    let is_array = json.starts_with('[');
    match step {
        Step::Key(key) => member(json, key),
        Step::Place(place) if is_array => element(json, *place),
        Step::Place(_) => None,
        Step::Either(text) if is_array => element(json, text.trim().parse().ok()?),
        Step::Either(key) => member(json, key),
    }
}

/// The end of the first JSON value in a text.
fn value_end(text: &str) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}

/// The value of a key; the last one where it comes twice.
fn member<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let mut rest = json.strip_prefix('{')?.trim_start();
    let mut found = None;
    while !rest.starts_with('}') {
        let (name, after) = rest.split_at_checked(value_end(rest)?)?;
        let after = after.trim_start().strip_prefix(':')?.trim_start();
        let (value, after) = after.split_at_checked(value_end(after)?)?;
        if serde_json::from_str::<String>(name).is_ok_and(|name| name == key) {
            found = Some(value.trim());
        }
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
    }
    found
}

/// The element at a place, counted from the end where it is negative.
fn element(json: &str, place: i64) -> Option<&str> {
    let mut rest = json.strip_prefix('[')?.trim_start();
    let mut elements = Vec::new();
    while !rest.starts_with(']') {
        let (value, after) = rest.split_at_checked(value_end(rest)?)?;
        elements.push(value.trim());
        if place >= 0 && elements.len() as i64 > place {
            break;
        }
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
    }
    let place = if place < 0 { place + elements.len() as i64 } else { place };
    elements.get(usize::try_from(place).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_written() {
        let json = r#" {"a": {"b" : [1, 2.50, "x,}"]}, "c":null, "a b": "q\"", "d": 1, "d": 2} "#.trim();
        let check = |path: &[Step], expected: Option<&str>| {
            assert_eq!(path.iter().try_fold(json, |json, step| part(json, step)), expected);
        };
        let key = |key: &str| Step::Key(key.into());
        check(&[key("a")], Some(r#"{"b" : [1, 2.50, "x,}"]}"#));
        check(&[key("a"), key("b"), Step::Place(1)], Some("2.50"));
        check(&[key("a"), key("b"), Step::Place(-1)], Some(r#""x,}""#));
        check(&[key("a"), key("b"), Step::Place(3)], None);
        check(&[key("a"), key("b"), Step::Either("0".into())], Some("1"));
        check(&[key("c")], Some("null"));
        check(&[key("a b")], Some(r#""q\"""#));
        check(&[key("d")], Some("2"));
        check(&[key("e")], None);
        check(&[key("d"), key("e")], None);
    }
}
