//! Type OIDs, sizes and modifiers, as `pg_type` has them.

use weir_model::{ColumnType, Refusal, Result};

pub(crate) const UNKNOWN: u32 = 705;
pub(crate) const CHAR: u32 = 18;
pub(crate) const OID: u32 = 26;

pub(crate) fn of(column_type: ColumnType) -> u32 {
    match column_type {
        ColumnType::Boolean => 16,
        ColumnType::Bytea => 17,
        ColumnType::BigInt => 20,
        ColumnType::SmallInt => 21,
        ColumnType::Integer => 23,
        ColumnType::Text => 25,
        ColumnType::Json => 114,
        ColumnType::Real => 700,
        ColumnType::Double => 701,
        ColumnType::Varchar(_) => 1043,
        ColumnType::Date => 1082,
        ColumnType::Time => 1083,
        ColumnType::Timestamp => 1114,
        ColumnType::Timestamptz => 1184,
        ColumnType::Interval => 1186,
        ColumnType::Numeric { .. } => 1700,
        ColumnType::Uuid => 2950,
        ColumnType::Jsonb => 3802,
    }
}

/// `typlen`: bytes of a fixed-size type, -1 for a variable one.
pub(crate) fn size(column_type: ColumnType) -> i16 {
    match column_type {
        ColumnType::Boolean => 1,
        ColumnType::SmallInt => 2,
        ColumnType::Integer | ColumnType::Real | ColumnType::Date => 4,
        ColumnType::BigInt
        | ColumnType::Double
        | ColumnType::Time
        | ColumnType::Timestamp
        | ColumnType::Timestamptz => 8,
        ColumnType::Interval | ColumnType::Uuid => 16,
        _ => -1,
    }
}

/// `atttypmod`: -1 where the type has no modifier.
pub(crate) fn modifier(column_type: ColumnType) -> i32 {
    match column_type {
        ColumnType::Varchar(length) => i32::try_from(length).map_or(-1, |length| length.saturating_add(4)),
        ColumnType::NUMERIC_DEFAULT => -1,
        ColumnType::Numeric { precision, scale } => ((i32::from(precision) << 16) | i32::from(scale)) + 4,
        _ => -1,
    }
}

/// The type a client declared for a parameter; `None` leaves it to the statement.
///
/// # Errors
///
/// Types that Weir has not, arrays among them, are refused rather than read as something else.
pub(crate) fn parameter_type(oid: u32) -> Result<Option<ColumnType>> {
    Ok(Some(match oid {
        0 | UNKNOWN => return Ok(None),
        16 => ColumnType::Boolean,
        17 => ColumnType::Bytea,
        20 | OID => ColumnType::BigInt,
        21 => ColumnType::SmallInt,
        23 => ColumnType::Integer,
        // "char", name, text, bpchar, varchar
        CHAR | 19 | 25 | 1042 | 1043 => ColumnType::Text,
        114 => ColumnType::Json,
        700 => ColumnType::Real,
        701 => ColumnType::Double,
        1082 => ColumnType::Date,
        1083 => ColumnType::Time,
        1114 => ColumnType::Timestamp,
        1184 => ColumnType::Timestamptz,
        1186 => ColumnType::Interval,
        1700 => ColumnType::NUMERIC_DEFAULT,
        2950 => ColumnType::Uuid,
        3802 => ColumnType::Jsonb,
        other => {
            let name = array_name(other).map_or_else(|| format!("OID {other}"), str::to_owned);
            return Err(Refusal::unsupported(format!("a parameter of type {name}"))
                .hint("pass a scalar, or text with a cast in the statement"));
        }
    }))
}

fn array_name(oid: u32) -> Option<&'static str> {
    Some(match oid {
        1000 => "boolean[]",
        1001 => "bytea[]",
        1005 => "smallint[]",
        1007 => "integer[]",
        1009 => "text[]",
        1014 | 1015 => "varchar[]",
        1016 => "bigint[]",
        1021 => "real[]",
        1022 => "double precision[]",
        1115 => "timestamp[]",
        1182 => "date[]",
        1183 => "time[]",
        1185 => "timestamptz[]",
        1187 => "interval[]",
        1231 => "numeric[]",
        199 => "json[]",
        2951 => "uuid[]",
        3807 => "jsonb[]",
        _ => return None,
    })
}
