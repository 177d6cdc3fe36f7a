//! Types as PostgreSQL settles them before it looks for operators: a quoted literal takes the type of what it is compared
//! with or cast to, dates and timestamps meet as timestamps, and what has no operator or cast is refused.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, StringViewArray},
    datatypes::{DataType, TimeUnit},
};
use datafusion::{
    common::{
        DFSchema, DataFusionError, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Between, BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, Projection, Union,
        expr::{AggregateFunction, InList},
        utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};
use weir_model::{
    Code, ColumnType, Refusal,
    text::{calendar::DAY, datetime_input::read_timestamptz, zone::Zone},
};
use weir_store::arrow_type;

use crate::{
    binder::parameter_type,
    cast::{Purpose, convert},
    castable::{castable, comparable},
    coerce::{self, Context},
    error::external,
    functions::{as_date, interval_value, session_value},
    leakproof::is_comparison,
    narrow::as_integer,
    rewrite,
    semantics::ZoneOf,
    types::{is_text, parameter_field, scalar_type},
};

#[derive(Debug)]
pub(crate) struct UnknownLiterals;

impl AnalyzerRule for UnknownLiterals {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        let done = plan.transform_up_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            let zone = ZoneOf::node(&node);
            let node = match node {
                LogicalPlan::Union(union) => return agree_in_union(union),
                node => node,
            };
            let changed = rewrite::expressions(node, |expr| expr.transform_up(|part| resolve(part, &schema, zone)))?;
            if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
        })?;
        Ok(done.data)
    }

    fn name(&self) -> &str {
        "unknown_literals"
    }
}

/// A column of UNION has one type: a quoted literal in one of its queries takes that of the others.
fn agree_in_union(union: Union) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let Union { mut inputs, schema } = union;
    let mut changed = false;
    for place in 0..schema.fields().len() {
        let kind = |input: &Arc<LogicalPlan>| input.schema().fields().get(place).cloned();
        let known = inputs.iter().filter_map(kind).find(|field| {
            !is_text(field.data_type()) && !field.data_type().is_null() && !field.data_type().is_nested()
        });
        let Some(known) = known else { continue };
        for input in &mut inputs {
            let Some(field) = kind(input) else { continue };
            if comparable(known.data_type(), field.data_type()) {
                continue;
            }
            let Some(settled) = with_typed_literal(input, place, scalar_type(&known))? else {
                let (one, two) = (coerce::source_name(known.data_type()), coerce::source_name(field.data_type()));
                let message = format!("UNION types {one} and {two} cannot be matched");
                return Err(external(Refusal::new(Code::DatatypeMismatch, message).hint("add explicit casts")));
            };
            *input = Arc::new(settled);
            changed = true;
        }
    }
    Ok(Transformed::new_transformed(LogicalPlan::Union(Union { inputs, schema }), changed))
}

/// The projection with the literal at that place read as the type; None where there is no such literal.
fn with_typed_literal(
    plan: &LogicalPlan,
    place: usize,
    target: ColumnType,
) -> Result<Option<LogicalPlan>, DataFusionError> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(None) };
    let (Some(expr), Some((qualifier, field))) = (projection.expr.get(place), projection.schema.iter().nth(place))
    else {
        return Ok(None);
    };
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = expr.clone().unalias() else { return Ok(None) };
    let literal = match target {
        ColumnType::Timestamptz => instant(&text, ZoneOf::Session)?,
        target => {
            let array: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str()]));
            let target = parameter_type(target);
            let array = coerce::to_type(&array, target, Context::Literal, &Zone::utc()).map_err(external)?;
            Expr::Literal(ScalarValue::try_from_array(&array, 0)?, None)
        }
    };
    let mut exprs = projection.expr.clone();
    if let Some(slot) = exprs.get_mut(place) {
        *slot = literal.alias_qualified(qualifier.cloned(), field.name());
    }
    Ok(Some(LogicalPlan::Projection(Projection::try_new(exprs, Arc::clone(&projection.input))?)))
}

fn resolve(expr: Expr, schema: &DFSchema, zone: ZoneOf) -> Result<Transformed<Expr>, DataFusionError> {
    match expr {
        Expr::Cast(cast) => resolve_cast(cast, schema, zone),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let left_typed = typed(&left, &right, schema, zone)?.map_or(left, Box::new);
            let right_typed = typed(&right, &left_typed, schema, zone)?.map_or(right, Box::new);
            let (left, right) = aligned(left_typed, right_typed, schema);
            check_comparable(&left, op, &right, schema)?;
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })))
        }
        Expr::AggregateFunction(call) => Ok(accountable(call, schema)),
        // The coercion of types refuses ranges of intervals.
        Expr::WindowFunction(mut call) => {
            for key in &mut call.params.order_by {
                if matches!(key.expr.get_type(schema), Ok(DataType::Interval(_))) {
                    key.expr = interval_value(std::mem::take(&mut key.expr));
                }
            }
            Ok(Transformed::yes(Expr::WindowFunction(call)))
        }
        Expr::Case(mut case) => {
            let branches = case.when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
            agree(branches.chain(case.else_expr.as_deref_mut()), schema, zone, "CASE")?;
            Ok(Transformed::yes(Expr::Case(case)))
        }
        Expr::ScalarFunction(mut call) if matches!(call.func.name(), "coalesce" | "greatest" | "least" | "nullif") => {
            let name = call.func.name().to_uppercase();
            agree(call.args.iter_mut(), schema, zone, &name)?;
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let low = typed(&low, &expr, schema, zone)?.map_or(low, Box::new);
            let high = typed(&high, &expr, schema, zone)?.map_or(high, Box::new);
            let (expr, low) = aligned(expr, low, schema);
            let (expr, high) = aligned(expr, high, schema);
            let (expr, low) = aligned(expr, low, schema);
            Ok(Transformed::yes(Expr::Between(Between { expr, negated, low, high })))
        }
        Expr::InList(InList { expr, list, negated }) => {
            let mut compared = expr;
            let mut items = Vec::with_capacity(list.len());
            for item in list {
                let item = typed(&item, &compared, schema, zone)?.unwrap_or(item);
                let (left, item) = aligned(compared, Box::new(item), schema);
                check_comparable(&left, Operator::Eq, &item, schema)?;
                compared = left;
                items.push(*item);
            }
            Ok(Transformed::yes(Expr::InList(InList { expr: compared, list: items, negated })))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Values of which one is chosen have one type: quoted literals take the others'.
fn agree<'e>(
    values: impl Iterator<Item = &'e mut Expr>,
    schema: &DFSchema,
    zone: ZoneOf,
    what: &str,
) -> Result<(), DataFusionError> {
    let mut values: Vec<&mut Expr> = values.collect();
    let kind = |value: &Expr| value.get_type(schema).ok().filter(|kind| !kind.is_null() && !is_text(kind));
    let Some(place) = values.iter().position(|value| kind(value).is_some()) else { return Ok(()) };
    let Some(model) = values.get(place).map(|value| (**value).clone()) else { return Ok(()) };
    for value in &mut values {
        if let Some(settled) = typed(value, &model, schema, zone)? {
            **value = settled;
            continue;
        }
        if let (Ok(one), Ok(two)) = (model.get_type(schema), value.get_type(schema))
            && !is_literal_text(value)
            && !comparable(&one, &two)
        {
            let (one, two) = (coerce::source_name(&one), coerce::source_name(&two));
            let message = format!("{what} types {one} and {two} cannot be matched");
            return Err(external(Refusal::new(Code::DatatypeMismatch, message).hint("add explicit casts")));
        }
    }
    Ok(())
}

fn is_literal_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Utf8(_), _) | Expr::Placeholder(_))
}

/// Without this, what has no common type would be compared as one side's.
fn check_comparable(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Result<(), DataFusionError> {
    match (left.get_type(schema), right.get_type(schema)) {
        (Ok(one), Ok(two)) if !is_literal_text(left) && !is_literal_text(right) && !comparable(&one, &two) => {
            Err(no_operator(&op.to_string(), &one, &two))
        }
        _ => Ok(()),
    }
}

fn no_operator(op: &str, left: &DataType, right: &DataType) -> DataFusionError {
    let (left, right) = (coerce::source_name(left), coerce::source_name(right));
    let message = format!("operator does not exist: {left} {op} {right}");
    external(Refusal::new(Code::UndefinedFunction, message).hint("add explicit casts"))
}

/// `array_agg` of text views: DataFusion counts the views it keeps but not the bytes behind them, so that a statement
/// would pass its memory limit unseen. Of plain text it counts all.
fn accountable(mut call: AggregateFunction, schema: &DFSchema) -> Transformed<Expr> {
    let owned = |expr: &Expr| match expr.get_type(schema) {
        Ok(DataType::Utf8View) => Some(DataType::Utf8),
        Ok(DataType::BinaryView) => Some(DataType::Binary),
        _ => None,
    };
    let target = call.params.args.first().filter(|_| call.func.name() == "array_agg").and_then(owned);
    match (target, call.params.args.first_mut()) {
        (Some(target), Some(argument)) => {
            *argument = Expr::Cast(Cast::new(Box::new(argument.clone()), target));
            Transformed::yes(Expr::AggregateFunction(call))
        }
        _ => Transformed::no(Expr::AggregateFunction(call)),
    }
}

/// Casts of literals at once; refuses those between types that have none.
fn resolve_cast(cast: Cast, schema: &DFSchema, zone: ZoneOf) -> Result<Transformed<Expr>, DataFusionError> {
    let target = scalar_type(&cast.field);
    if arrow_type(target) != *cast.field.data_type() {
        return Ok(Transformed::no(Expr::Cast(cast)));
    }
    if let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = cast.expr.as_ref() {
        let array: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str()]));
        if target == ColumnType::Timestamptz {
            return instant(text, zone).map(Transformed::yes);
        }
        let array = convert(&array, target, &Zone::utc(), Purpose::Explicit).map_err(external)?;
        let metadata = cast.field.metadata().into();
        return Ok(Transformed::yes(Expr::Literal(ScalarValue::try_from_array(&array, 0)?, Some(metadata))));
    }
    let Ok((_, source)) = cast.expr.to_field(schema) else { return Ok(Transformed::no(Expr::Cast(cast))) };
    let from = match cast.expr.as_ref() {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) if as_integer(*value).is_some() => ColumnType::Integer,
        _ => scalar_type(&source),
    };
    if !source.data_type().is_null() && !source.data_type().is_nested() && !castable(from, target) {
        let message = format!("cannot cast type {from} to {target}");
        return Err(external(Refusal::new(Code::CannotCoerce, message).hint("there is no such cast; go through text")));
    }
    // A bare `numeric` takes any digits: more than its default stay.
    if let (ColumnType::NUMERIC_DEFAULT, DataType::Decimal128(precision, scale)) = (target, source.data_type())
        && (*scale > 10 || i16::from(*precision) - i16::from(*scale) > 28)
    {
        return Ok(Transformed::yes(*cast.expr));
    }
    Ok(Transformed::no(Expr::Cast(cast)))
}

/// A text as an instant: a constant where it names its zone, else what it is in the session's.
fn instant(text: &str, zone: ZoneOf) -> Result<Expr, DataFusionError> {
    let read = |zone: &Zone| {
        read_timestamptz(text.as_bytes(), zone)
            .map_err(|fault| external(fault.refusal(ColumnType::Timestamptz, text.as_bytes())))
    };
    let utc = read(&Zone::utc())?;
    let elsewhere = match (zone, Zone::named("Asia/Kathmandu")) {
        (ZoneOf::Session, Some(other)) => read(&other)?,
        _ => utc,
    };
    if elsewhere != utc {
        return Ok(session_value::instant(text));
    }
    let value = ScalarValue::TimestampMicrosecond(Some(utc), Some("+00:00".into()));
    Ok(Expr::Literal(value, None))
}

/// The literal with the other side's type; None where it is no untyped literal, or text is what is wanted.
fn typed(literal: &Expr, other: &Expr, schema: &DFSchema, zone: ZoneOf) -> Result<Option<Expr>, DataFusionError> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = literal else { return Ok(None) };
    if matches!(other, Expr::Literal(ScalarValue::Utf8(_), _)) {
        return Ok(None);
    }
    let Ok((_, field)) = other.to_field(schema) else { return Ok(None) };
    let target = match scalar_type(&field) {
        ColumnType::Uuid => ColumnType::Uuid,
        ColumnType::Timestamptz => return instant(text, zone).map(Some),
        _ if is_text(field.data_type()) || field.data_type().is_null() || field.data_type().is_nested() => {
            return Ok(None);
        }
        column_type => parameter_type(column_type),
    };
    let array: ArrayRef = Arc::new(StringViewArray::from(vec![text.as_str()]));
    let array = coerce::to_type(&array, target, Context::Literal, &Zone::utc()).map_err(external)?;
    Ok(Some(Expr::Literal(ScalarValue::try_from_array(&array, 0)?, None)))
}

fn to(expr: Box<Expr>, column_type: ColumnType) -> Box<Expr> {
    Box::new(Expr::Cast(Cast::new_from_field(expr, parameter_field(column_type))))
}

/// A float and a numeric are compared as floats; a date, a timestamp and a timestamptz as the latest of them. But where a timestamp is known
/// to be a date's midnight, a date stays one, so that scans can still use it.
fn aligned(left: Box<Expr>, right: Box<Expr>, schema: &DFSchema) -> (Box<Expr>, Box<Expr>) {
    let kind = |expr: &Expr| match expr.get_type(schema) {
        Ok(DataType::Date32) => Some(ColumnType::Date),
        Ok(DataType::Timestamp(TimeUnit::Microsecond, None)) => Some(ColumnType::Timestamp),
        Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(_))) => Some(ColumnType::Timestamptz),
        Ok(DataType::Float32 | DataType::Float64) => Some(ColumnType::Double),
        Ok(DataType::Decimal128(..) | DataType::Decimal256(..)) => Some(ColumnType::NUMERIC_DEFAULT),
        _ => None,
    };
    use ColumnType::{Date, Double, Numeric, Timestamp, Timestamptz};
    match (kind(&left), kind(&right)) {
        (Some(Date), Some(Timestamp)) => match midnight(&right) {
            Some(date) => (left, Box::new(date)),
            None => (to(left, Timestamp), right),
        },
        (Some(Timestamp), Some(Date)) => match midnight(&left) {
            Some(date) => (Box::new(date), right),
            None => (left, to(right, Timestamp)),
        },
        (Some(Double), Some(Numeric { .. })) => (left, to(right, Double)),
        (Some(Numeric { .. }), Some(Double)) => (to(left, Double), right),
        (Some(Date | Timestamp), Some(Timestamptz)) => (to(left, Timestamptz), right),
        (Some(Timestamptz), Some(Date | Timestamp)) => (left, to(right, Timestamptz)),
        _ => (left, right),
    }
}

/// The date whose midnight an expression is for certain.
fn midnight(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), None), _) if micros.rem_euclid(DAY) == 0 => {
            let days = i32::try_from(micros.div_euclid(DAY)).ok()?;
            Some(Expr::Literal(ScalarValue::Date32(Some(days)), None))
        }
        other => as_date(other),
    }
}

/// All literals of one expression.
pub(crate) fn resolve_all(expr: Expr, schema: &DFSchema, zone: ZoneOf) -> Result<Expr, DataFusionError> {
    Ok(expr.transform_up(|part| resolve(part, schema, zone))?.data)
}
