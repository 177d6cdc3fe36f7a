//! Which types have casts and comparisons between them.

use arrow::datatypes::DataType;
use weir_model::ColumnType;

use crate::types::is_text;

/// Whether PostgreSQL has an explicit cast.
pub(crate) fn castable(from: ColumnType, to: ColumnType) -> bool {
    use ColumnType::{
        BigInt, Boolean, Date, Double, Integer, Interval, Json, Jsonb, Numeric, Real, SmallInt, Text, Time, Timestamp,
        Timestamptz, Varchar,
    };
    let number = |kind| matches!(kind, SmallInt | Integer | BigInt | Real | Double | Numeric { .. });
    let text = |kind| matches!(kind, Text | Varchar(_));
    if from == to || text(from) || text(to) || (number(from) && number(to)) {
        return true;
    }
    matches!(
        (from, to),
        (Boolean, Integer)
            | (Integer, Boolean)
            | (Date, Timestamp | Timestamptz)
            | (Timestamp, Date | Time | Timestamptz)
            | (Timestamptz, Date | Time | Timestamp)
            | (Time, Interval)
            | (Interval, Time)
            | (Json, Jsonb)
            | (Jsonb, Json)
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Boolean,
    Date,
    Time,
    Interval,
    Bytes,
}

fn kind(data_type: &DataType) -> Option<Kind> {
    Some(match data_type {
        text if is_text(text) => Kind::Text,
        number if number.is_numeric() => Kind::Number,
        DataType::Boolean => Kind::Boolean,
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Kind::Date,
        DataType::Time32(_) | DataType::Time64(_) => Kind::Time,
        DataType::Interval(_) | DataType::Duration(_) => Kind::Interval,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Kind::Bytes,
        _ => return None,
    })
}

/// Whether values of both types have an order or an equality in common; what is of no type yet has it with all.
pub(crate) fn comparable(left: &DataType, right: &DataType) -> bool {
    match (kind(left), kind(right)) {
        (Some(left), Some(right)) => left == right,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_are_postgresql_s() {
        let check = |from, to, expected| assert_eq!(castable(from, to), expected, "{from} {to}");
        check(ColumnType::Date, ColumnType::Timestamptz, true);
        check(ColumnType::Date, ColumnType::Integer, false);
        check(ColumnType::Boolean, ColumnType::Integer, true);
        check(ColumnType::Boolean, ColumnType::BigInt, false);
        check(ColumnType::Double, ColumnType::NUMERIC_DEFAULT, true);
        check(ColumnType::Timestamp, ColumnType::Interval, false);
        check(ColumnType::Integer, ColumnType::Text, true);
    }
}
