//! DataFusion's and Arrow's errors as refusals a client can act on.

use std::error::Error;

use arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, SchemaError};
use weir_model::{Code, Refusal};

/// The engine could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the engine cannot start: {0}")]
pub struct EngineError(pub(crate) String);

/// Carries one of our refusals through DataFusion's error type.
pub(crate) fn external(refusal: Refusal) -> DataFusionError {
    DataFusionError::External(Box::new(refusal))
}

/// Whether messages may repeat values that the statement read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    Shown,
    /// The plan reads masked columns: a message with a value in it would unmask it.
    Withheld,
}

/// What went wrong while a statement was planned.
pub(crate) fn plan_refusal(error: &DataFusionError) -> Refusal {
    refusal(error, Values::Shown)
}

pub(crate) fn refusal(error: &DataFusionError, values: Values) -> Refusal {
    if let Some(ours) = find::<Refusal>(error) {
        return withheld(ours, values);
    }
    let root = match error {
        DataFusionError::Collection(errors) => errors.first().map_or(error, |first| first.find_root()),
        other => other.find_root(),
    };
    if let Some(arrow) = find::<ArrowError>(root) {
        return arrow_refusal(arrow, values);
    }
    match root {
        DataFusionError::SchemaError(schema, _) => schema_refusal(schema),
        DataFusionError::ResourcesExhausted(text) => exhausted(text),
        DataFusionError::NotImplemented(text) => not_built(text),
        DataFusionError::Plan(text) | DataFusionError::Configuration(text) => planning(text),
        DataFusionError::SQL(parser, _) => Refusal::new(Code::SyntaxError, parser.to_string().to_lowercase()),
        DataFusionError::Execution(text) => execution(text, values),
        DataFusionError::IoError(error) => io(error, error.kind()),
        DataFusionError::Internal(text) if text.contains("more than one row") => cardinality(),
        DataFusionError::Internal(text) if text.contains("No functions registered") => {
            Refusal::new(Code::UndefinedFunction, "function does not exist")
        }
        other => internal(other),
    }
}

/// Class 22, data exceptions: their messages repeat the value.
fn withheld(refusal: &Refusal, values: Values) -> Refusal {
    let code = refusal.code();
    if values == Values::Shown || !code.sqlstate().0.starts_with("22") {
        return refusal.clone();
    }
    Refusal::new(code, code.as_str().replace('_', " "))
        .detail("the value is withheld: the statement reads masked columns")
}

/// The first error of type `E` among `error` and its causes.
fn find<'a, E: Error + 'static>(error: &'a DataFusionError) -> Option<&'a E> {
    let mut next: Option<&'a (dyn Error + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<E>() {
            return Some(found);
        }
        if let Some(boxed) = current.downcast_ref::<Box<E>>() {
            return Some(boxed);
        }
        next = match current.downcast_ref::<DataFusionError>() {
            Some(DataFusionError::ArrowError(arrow, _)) => Some(arrow.as_ref()),
            Some(DataFusionError::External(inner)) => Some(inner.as_ref()),
            Some(DataFusionError::Collection(errors)) => errors.first().map(|first| first as _),
            Some(DataFusionError::Shared(inner)) => Some(inner.as_ref()),
            _ => match current.downcast_ref::<ArrowError>() {
                Some(ArrowError::ExternalError(inner)) => Some(inner.as_ref()),
                _ => current.source(),
            },
        };
    }
    None
}

pub(crate) fn arrow_refusal(error: &ArrowError, values: Values) -> Refusal {
    match error {
        ArrowError::DivideByZero => Refusal::new(Code::DivisionByZero, "division by zero"),
        ArrowError::ArithmeticOverflow(_) => out_of_range(),
        ArrowError::CastError(text) | ArrowError::ParseError(text) | ArrowError::ComputeError(text) => {
            execution(text, values)
        }
        ArrowError::InvalidArgumentError(text) => execution(text, values),
        ArrowError::OffsetOverflowError(_) => {
            Refusal::new(Code::ProgramLimitExceeded, "a value or a batch of rows grew too large")
        }
        ArrowError::NotYetImplemented(text) => not_built(text),
        ArrowError::IoError(text, _) if text.contains("disk space") => exhausted(text),
        ArrowError::IoError(text, error) => io(text, error.kind()),
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<Refusal>() {
            Some(ours) => withheld(ours, values),
            None => internal(error),
        },
        other => internal(other),
    }
}

fn io(error: &dyn std::fmt::Display, kind: std::io::ErrorKind) -> Refusal {
    tracing::error!(%error, "i/o failed while a statement ran");
    if kind == std::io::ErrorKind::StorageFull {
        return Refusal::new(Code::DiskFull, "no space is left for the statement's temporary files")
            .hint("filter or aggregate earlier, or ask the operator for space");
    }
    Refusal::new(Code::StorageFailed, "reading or spilling data failed")
}

fn internal(error: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(error = %error, "internal error in the engine");
    Refusal::new(Code::Internal, "internal error while planning or running the statement")
        .hint("report this statement: it is a bug")
}

fn schema_refusal(error: &SchemaError) -> Refusal {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => undefined_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            Refusal::new(Code::AmbiguousColumn, format!("column reference \"{}\" is ambiguous", field.name))
                .hint("write the table's name or alias before the column")
        }
        SchemaError::DuplicateQualifiedField { qualifier, .. } => {
            let message = format!("table name \"{}\" specified more than once", qualifier.table());
            Refusal::new(Code::DuplicateAlias, message).hint("give each of them an alias")
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            Refusal::new(Code::AmbiguousColumn, format!("column name \"{name}\" appears more than once"))
                .hint("give each of them an alias")
        }
    }
}

/// Names of columns the statement could have meant; at most this many in a HINT.
const HINT_COLUMNS: usize = 12;

fn undefined_column(field: &Column, valid: &[Column]) -> Refusal {
    let message = match &field.relation {
        Some(relation) => format!("column {}.{} does not exist", relation.table(), field.name),
        None => format!("column \"{}\" does not exist", field.name),
    };
    let refusal = Refusal::new(Code::UndefinedColumn, message);
    let mut names: Vec<&str> =
        valid.iter().map(|column| column.name.as_str()).filter(|name| !name.starts_with("__weir")).collect();
    names.sort_by_key(|name| (distance(name, &field.name), *name));
    names.dedup();
    if names.is_empty() {
        return refusal;
    }
    let more = if names.len() > HINT_COLUMNS { ", …" } else { "" };
    names.truncate(HINT_COLUMNS);
    refusal.hint(format!("columns here: {}{more}", names.join(", ")))
}

/// How unlike two names are: the length of what is left without the common prefix and suffix.
fn distance(left: &str, right: &str) -> usize {
    let prefix = left.bytes().zip(right.bytes()).take_while(|(a, b)| a == b).count();
    let rest = left.len().min(right.len()).saturating_sub(prefix);
    let suffix = left.bytes().rev().zip(right.bytes().rev()).take(rest).take_while(|(a, b)| a == b).count();
    left.len().max(right.len()).saturating_sub(prefix + suffix)
}

fn exhausted(text: &str) -> Refusal {
    if text.contains("disk space") || text.contains("temporary") {
        return Refusal::new(Code::DiskFull, "the statement's temporary files exceed their limit")
            .hint("filter or aggregate earlier, or raise the spill limit");
    }
    memory_exceeded().detail(first_line(text).to_lowercase())
}

pub(crate) fn memory_exceeded() -> Refusal {
    Refusal::new(Code::MemoryExceeded, "the statement needs more memory than it may use")
        .hint("select fewer columns or rows, or join and aggregate smaller inputs")
}

fn cardinality() -> Refusal {
    Refusal::new(Code::CardinalityViolation, "more than one row returned by a subquery used as an expression")
}

fn out_of_range() -> Refusal {
    Refusal::new(Code::NumericOutOfRange, "value out of range")
}

fn not_built(text: &str) -> Refusal {
    let text = first_line(text);
    if text.contains("is not supported") || text.contains("not supported") {
        Refusal::new(Code::Unsupported, lower_first(text))
    } else {
        Refusal::new(Code::Unsupported, format!("not supported: {}", lower_first(text)))
    }
}

fn planning(text: &str) -> Refusal {
    let line = first_line(text);
    if line.contains("GROUP BY clause") || line.contains("must be in GROUP BY") || line.contains("in the GROUP BY") {
        return grouping(line);
    }
    if let Some(name) = between(line, "Invalid function '", "'") {
        let refusal = Refusal::new(Code::UndefinedFunction, format!("function {name} does not exist"));
        return match between(text, "Did you mean '", "'") {
            Some(near) => refusal.hint(format!("the nearest name is {near}")),
            None => refusal,
        };
    }
    if line.contains("failed to match any signature") || line.contains("not support zero arguments") {
        let name = between(line, "Function '", "'").or_else(|| between(line, "'", "'")).unwrap_or("with that name");
        return Refusal::new(Code::UndefinedFunction, format!("function {name} does not take these arguments"))
            .hint("add explicit casts");
    }
    if line.contains("temporal operation") || line.contains("Cannot get result type") {
        return Refusal::new(Code::UndefinedFunction, "no operator takes these types").hint("add explicit casts");
    }
    if line.contains("No function matches") {
        let call = between(line, "argument types '", "'").unwrap_or("with these arguments");
        return Refusal::new(Code::UndefinedFunction, format!("function {} does not exist", call.to_lowercase()))
            .hint("no function of that name takes these argument types; add explicit casts");
    }
    if line.contains("Cannot coerce arithmetic") || line.contains("argument type for comparison") {
        return Refusal::new(Code::UndefinedFunction, "no operator takes these types").hint("add explicit casts");
    }
    if let Some(refusal) = misplaced(line) {
        return refusal;
    }
    if line.contains("Cannot coerce") || line.contains("Cannot infer common") || line.contains("type_coercion") {
        return Refusal::new(Code::DatatypeMismatch, lower_first(line)).hint("add an explicit cast");
    }
    if line.contains("different number of columns") {
        return Refusal::new(Code::SyntaxError, "each query of a set operation must have the same number of columns");
    }
    if line.contains("ambiguous") {
        return Refusal::new(Code::AmbiguousColumn, lower_first(line));
    }
    if line.contains("Scalar subquery should only return one column") {
        return Refusal::new(Code::SyntaxError, "subquery must return only one column");
    }
    if line.contains("Unsupported") || line.contains("not supported") {
        return not_built(line);
    }
    Refusal::new(Code::SyntaxError, lower_first(line))
}

/// What PostgreSQL has codes of its own for.
fn misplaced(line: &str) -> Option<Refusal> {
    let (code, message) = match line {
        line if line.contains("Cannot find column with position") => {
            (Code::InvalidColumnReference, "a position of GROUP BY or ORDER BY is not in the select list")
        }
        line if line.contains("Aggregate functions are not allowed in the WHERE") => {
            (Code::GroupingError, "aggregate functions are not allowed in WHERE")
        }
        line if line.contains("non-boolean predicate") => {
            (Code::DatatypeMismatch, "argument of WHERE, HAVING or ON must be type boolean")
        }
        line if line.contains("LIMIT must be >= 0") => (Code::InvalidLimit, "LIMIT must not be negative"),
        line if line.contains("OFFSET must be >=0") || line.contains("OFFSET must be >= 0") => {
            (Code::InvalidOffset, "OFFSET must not be negative")
        }
        line if line.contains("Correlated scalar subquery must be aggregated") => {
            let refusal =
                Refusal::unsupported("a subquery of one value that refers to the query around it without an aggregate");
            return Some(refusal.hint("wrap its column in an aggregate such as max(), or join the table"));
        }
        _ => return None,
    };
    Some(Refusal::new(code, message))
}

fn grouping(line: &str) -> Refusal {
    let column = between(
        line,
        "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \"",
        "\"",
    )
    .or_else(|| between(line, "olumn \"", "\""));
    let refusal = match column {
        Some(column) => {
            let message =
                format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function");
            Refusal::new(Code::GroupingError, message)
        }
        None => Refusal::new(Code::GroupingError, lower_first(line)),
    };
    refusal.hint("add the column to GROUP BY, or wrap it in an aggregate such as min()")
}

/// Errors of running expressions, told apart by their text: DataFusion and Arrow give them no code.
fn execution(text: &str, values: Values) -> Refusal {
    let line = first_line(text);
    let lower = line.to_lowercase();
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        return Refusal::new(Code::DivisionByZero, "division by zero");
    }
    if lower.contains("cannot access field") {
        return Refusal::new(Code::UndefinedColumn, "a column that was named does not exist, and no value has parts");
    }
    if lower.contains("more than one row") {
        return cardinality();
    }
    if lower.contains("resources exhausted") {
        return memory_exceeded();
    }
    let (code, plain) = if lower.contains("unable to parse date from") {
        (Code::DatetimeOverflow, "date field value out of range")
    } else if lower.contains("overflow") || lower.contains("out of range") || lower.contains("too large") {
        (Code::NumericOutOfRange, "value out of range")
    } else if lower.contains("timestamp") || lower.contains("date") || lower.contains("interval") {
        (Code::InvalidDatetime, "invalid date or time")
    } else if lower.contains("cannot cast string") || lower.contains("parse") {
        (Code::InvalidTextRepresentation, "invalid input syntax")
    } else if lower.contains("can't cast") || lower.contains("cannot cast") {
        (Code::NumericOutOfRange, "value out of range for the type it is cast to")
    } else {
        (Code::DataException, "the statement failed on a value")
    };
    if values == Values::Withheld {
        return Refusal::new(code, plain).detail("the value is withheld: the statement reads masked columns");
    }
    if let Some((value, target)) = bad_text(line) {
        return Refusal::new(
            Code::InvalidTextRepresentation,
            format!("invalid input syntax for type {}: \"{value}\"", sql_name(target)),
        );
    }
    Refusal::new(code, lower_first(line))
}

/// "Cannot cast string 'x' to value of Int32 type".
fn bad_text(line: &str) -> Option<(&str, &str)> {
    let rest = line.split_once("Cannot cast string '")?.1;
    let (value, rest) = rest.rsplit_once("' to value of ")?;
    Some((value, rest.split_once(" type").map_or(rest, |(name, _)| name)))
}

fn sql_name(arrow: &str) -> &str {
    match arrow {
        "Boolean" => "boolean",
        "Int8" | "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" | "UInt32" | "UInt64" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        name if name.starts_with("Decimal") => "numeric",
        name if name.starts_with("Timestamp") => "timestamp",
        name if name.starts_with("Date") => "date",
        name if name.starts_with("Time") => "time",
        name => name,
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_end_matches('.')
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) if !characters.as_str().starts_with(char::is_uppercase) => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Arc;

    use super::*;

    #[test]
    fn errors_get_their_codes() {
        let check = |error: DataFusionError, code: Code, message: &str| {
            let refusal = refusal(&error, Values::Shown);
            assert_eq!((refusal.code(), refusal.message()), (code, message));
        };
        let arrow = |error: ArrowError| DataFusionError::ArrowError(Box::new(error), None);
        check(arrow(ArrowError::DivideByZero), Code::DivisionByZero, "division by zero");
        check(
            arrow(ArrowError::CastError("Cannot cast string 'x' to value of Int32 type".into())),
            Code::InvalidTextRepresentation,
            "invalid input syntax for type integer: \"x\"",
        );
        check(
            DataFusionError::Shared(Arc::new(external(Refusal::new(Code::LedgerViolation, "no")))),
            Code::LedgerViolation,
            "no",
        );
        check(
            DataFusionError::Plan("Invalid function 'foo'.\nDid you mean 'floor'?".into()),
            Code::UndefinedFunction,
            "function foo does not exist",
        );
        let io = |text: &str, kind| ArrowError::IoError(text.to_owned(), std::io::Error::from(kind));
        check(
            arrow(io(
                "The used disk space during the spilling process has exceeded the limit",
                std::io::ErrorKind::Other,
            )),
            Code::DiskFull,
            "the statement's temporary files exceed their limit",
        );
        check(
            arrow(io("write", std::io::ErrorKind::StorageFull)),
            Code::DiskFull,
            "no space is left for the statement's temporary files",
        );
    }

    #[test]
    fn withheld_values_stay_out_of_messages() {
        let error = ArrowError::CastError("Cannot cast string 'secret' to value of Int32 type".into());
        let refusal = arrow_refusal(&error, Values::Withheld);
        assert!(!refusal.message().contains("secret") && !refusal.detail_line().contains("secret"), "{refusal:?}");
        let ours = Refusal::new(Code::InvalidTextRepresentation, "invalid input syntax for type integer: \"secret\"");
        let refusal = super::refusal(&external(ours), Values::Withheld);
        assert!(!format!("{refusal:?}").contains("secret"), "{refusal:?}");
        assert_eq!(refusal.code(), Code::InvalidTextRepresentation);
    }

    #[test]
    fn hints_name_the_nearest_columns_first() {
        let valid = ["zeta", "customer_id", "custome"].map(Column::from_name);
        let refusal = undefined_column(&Column::from_name("customer"), &valid);
        assert_eq!(refusal.hint_line(), Some("columns here: custome, customer_id, zeta"));
    }
}
