use crate::ColumnType;

/// One typed scalar: a bound parameter, a literal, a default.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL of a type, or of none yet.
    Null(Option<ColumnType>),
    Boolean(bool),
    SmallInt(i16),
    Integer(i32),
    BigInt(i64),
    Real(f32),
    Double(f64),
    /// `unscaled / 10^scale`, at most 38 digits.
    Numeric {
        unscaled: i128,
        precision: u8,
        scale: i8,
    },
    Text(String),
    Bytea(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970-01-01.
    Timestamp(i64),
    /// Microseconds since 1970-01-01 UTC.
    Timestamptz(i64),
    Interval {
        months: i32,
        days: i32,
        nanoseconds: i64,
    },
    /// Of one dimension; every element is of the type, or NULL.
    Array {
        element: ColumnType,
        elements: Vec<Value>,
    },
}
