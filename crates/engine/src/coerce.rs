//! Assignment casts: a value on its way into a column or a parameter.

use arrow::{
    array::{Array, ArrayRef},
    datatypes::DataType,
};
use weir_model::{Code, ColumnType, Refusal, Result, text::zone::Zone};

use crate::{
    cast::{Purpose, convert},
    types::is_text,
    values::all_null,
};

/// Where a value goes, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Context<'a> {
    Column(&'a str),
    /// One-based.
    Parameter(usize),
    Literal,
}

impl Context<'_> {
    fn noted(self, refusal: Refusal) -> Refusal {
        match self {
            Context::Column(name) => refusal.detail(format!("column={name}")),
            Context::Parameter(number) => refusal.detail(format!("parameter=${number}")),
            Context::Literal => refusal,
        }
    }
}

/// Casts to the column's type. Text is parsed as PostgreSQL's input functions would; `zone` is the session's.
///
/// # Errors
/// `datatype_mismatch` where no assignment cast exists, and what [`convert`] says.
pub(crate) fn to_type(array: &ArrayRef, target: ColumnType, context: Context<'_>, zone: &Zone) -> Result<ArrayRef> {
    let source = array.data_type();
    if !all_null(array) && !is_text(source) && !is_assignable(source, target) {
        let refusal = Refusal::new(
            Code::DatatypeMismatch,
            format!("a value of type {} cannot be assigned to type {target}", source_name(source)),
        );
        return Err(context.noted(refusal.hint("write a cast")));
    }
    convert(array, target, zone, Purpose::Assignment).map_err(|refusal| context.noted(refusal))
}

pub(crate) fn source_name(data_type: &DataType) -> String {
    weir_store::column_type_of(&arrow::datatypes::Field::new("", data_type.clone(), true))
        .map_or_else(|| data_type.to_string(), |column_type| column_type.to_string())
}

/// PostgreSQL's assignment casts among our types, from something that is not text.
pub(crate) fn is_assignable(source: &DataType, target: ColumnType) -> bool {
    let number = source.is_numeric();
    match target {
        ColumnType::SmallInt
        | ColumnType::Integer
        | ColumnType::BigInt
        | ColumnType::Real
        | ColumnType::Double
        | ColumnType::Numeric { .. } => number,
        ColumnType::Boolean => *source == DataType::Boolean,
        ColumnType::Text | ColumnType::Varchar(_) => !source.is_nested(),
        ColumnType::Bytea => matches!(
            source,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
        ),
        ColumnType::Date => matches!(source, DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _)),
        ColumnType::Time => matches!(source, DataType::Time32(_) | DataType::Time64(_) | DataType::Timestamp(_, _)),
        ColumnType::Timestamp | ColumnType::Timestamptz => {
            matches!(source, DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _))
        }
        ColumnType::Interval => matches!(source, DataType::Interval(_) | DataType::Duration(_)),
        ColumnType::Uuid | ColumnType::Json | ColumnType::Jsonb => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Arc;

    use arrow::{
        array::{BooleanArray, Float64Array, Int64Array, StringViewArray},
        util::display::array_value_to_string,
    };

    use super::*;

    fn check(source: ArrayRef, target: ColumnType, expected: Result<&str, Code>) {
        let context = Context::Column("c");
        let found = to_type(&source, target, context, &Zone::utc())
            .map(|array| array_value_to_string(&array, 0).unwrap())
            .map_err(|refusal| refusal.code());
        assert_eq!(found, expected.map(str::to_owned), "{source:?} as {target}");
    }

    fn text(value: &str) -> ArrayRef {
        Arc::new(StringViewArray::from(vec![value]))
    }

    #[test]
    fn text_is_read_as_postgresql_reads_it() {
        check(text(" 42 "), ColumnType::Integer, Ok("42"));
        check(text("x"), ColumnType::Integer, Err(Code::InvalidTextRepresentation));
        check(text("1.5"), ColumnType::Integer, Err(Code::InvalidTextRepresentation));
        check(text("99999999999"), ColumnType::Integer, Err(Code::NumericOutOfRange));
        check(text("yes"), ColumnType::Boolean, Ok("true"));
        check(text("maybe"), ColumnType::Boolean, Err(Code::InvalidTextRepresentation));
        check(text("1.005"), ColumnType::Numeric { precision: 5, scale: 2 }, Ok("1.01"));
        check(text("12345"), ColumnType::Numeric { precision: 4, scale: 2 }, Err(Code::NumericOutOfRange));
        check(text("2024-02-29"), ColumnType::Date, Ok("2024-02-29"));
        check(text("2023-02-29"), ColumnType::Date, Err(Code::DatetimeOverflow));
        check(text("2024-01-02 03:04:05.678"), ColumnType::Timestamp, Ok("2024-01-02T03:04:05.678"));
        check(text("2024-01-02 03:04"), ColumnType::Timestamp, Ok("2024-01-02T03:04:00"));
        check(text("2024-01-02T03:04:05+02"), ColumnType::Timestamptz, Ok("2024-01-02T01:04:05Z"));
        check(text("2024-01-02 03:04 UTC"), ColumnType::Timestamptz, Ok("2024-01-02T03:04:00Z"));
        check(text("2024-01-02"), ColumnType::Timestamp, Ok("2024-01-02T00:00:00"));
        check(text("\\x00ff"), ColumnType::Bytea, Ok("00ff"));
        check(text("{\"a\":1}"), ColumnType::Jsonb, Ok("{\"a\":1}"));
        check(text("{a"), ColumnType::Json, Err(Code::InvalidTextRepresentation));
        check(
            text("{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}"),
            ColumnType::Uuid,
            Ok("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        );
        check(text("a0eebc99"), ColumnType::Uuid, Err(Code::InvalidTextRepresentation));
    }

    #[test]
    fn assignment_casts_check_ranges_lengths_and_kinds() {
        let number = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
        check(number(7), ColumnType::SmallInt, Ok("7"));
        check(number(70_000), ColumnType::SmallInt, Err(Code::NumericOutOfRange));
        check(number(7), ColumnType::Date, Err(Code::DatatypeMismatch));
        check(number(7), ColumnType::Text, Ok("7"));
        check(Arc::new(BooleanArray::from(vec![true])), ColumnType::Integer, Err(Code::DatatypeMismatch));
        check(Arc::new(Float64Array::from(vec![2.5])), ColumnType::Integer, Ok("2"));
        check(text("héllo"), ColumnType::Varchar(5), Ok("héllo"));
        check(text("hello  "), ColumnType::Varchar(5), Ok("hello"));
        check(text("hello!"), ColumnType::Varchar(5), Err(Code::StringTooLong));
    }
}
