use std::fmt;

use crate::ColumnType;

/// The type of a parameter or an output column: a column's, or an array of values of one. No column holds arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    Scalar(ColumnType),
    Array(ColumnType),
    /// The catalogs' numbers of objects: of a parameter that a statement casts so. Results are bigint.
    Oid,
    OidArray,
}

impl ValueType {
    pub const TEXT: ValueType = ValueType::Scalar(ColumnType::Text);

    /// None for an array.
    #[must_use]
    pub fn scalar(self) -> Option<ColumnType> {
        match self {
            ValueType::Scalar(column_type) => Some(column_type),
            ValueType::Oid => Some(ColumnType::BigInt),
            ValueType::Array(_) | ValueType::OidArray => None,
        }
    }

    /// What its elements are; None for what is no array.
    #[must_use]
    pub fn element(self) -> Option<ColumnType> {
        match self {
            ValueType::Array(element) => Some(element),
            ValueType::OidArray => Some(ColumnType::BigInt),
            ValueType::Scalar(_) | ValueType::Oid => None,
        }
    }
}

impl From<ColumnType> for ValueType {
    fn from(column_type: ColumnType) -> ValueType {
        ValueType::Scalar(column_type)
    }
}

/// As PostgreSQL's `format_type` prints it.
impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueType::Scalar(column_type) => column_type.fmt(f),
            ValueType::Array(element) => write!(f, "{element}[]"),
            ValueType::Oid => f.write_str("oid"),
            ValueType::OidArray => f.write_str("oid[]"),
        }
    }
}
