use std::fmt;

use serde::{Deserialize, Serialize};

/// Key of the Arrow field metadata entry that carries [`ColumnType::tag`] where the Arrow type alone does not say it
/// (uuid, json, varchar(n), …).
pub const TYPE_TAG: &str = "weir.type";

/// The SQL types a column may have. `store` gives each its Arrow form, `wire` its Postgres OID and encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Real,
    Double,
    /// `numeric(precision, scale)`: 1 ≤ precision ≤ 38, 0 ≤ scale ≤ precision. A bare `numeric` is (38, 10).
    Numeric {
        precision: u8,
        scale: i8,
    },
    Text,
    /// `varchar(n)`: n counts characters.
    Varchar(u32),
    Bytea,
    Date,
    /// Microseconds since midnight.
    Time,
    /// Microseconds since 1970-01-01, no zone.
    Timestamp,
    /// Microseconds since 1970-01-01 UTC.
    Timestamptz,
    Interval,
    /// Kept as canonical lower-case text.
    Uuid,
    /// Kept as the text that came in, checked to be JSON.
    Json,
    /// Kept as text, checked to be JSON. Not normalised.
    Jsonb,
}

impl ColumnType {
    pub const NUMERIC_DEFAULT: ColumnType = ColumnType::Numeric { precision: 38, scale: 10 };

    /// A short text that [`ColumnType::from_tag`] reads back.
    #[must_use]
    pub fn tag(self) -> String {
        match self {
            ColumnType::Boolean => "boolean".into(),
            ColumnType::SmallInt => "smallint".into(),
            ColumnType::Integer => "integer".into(),
            ColumnType::BigInt => "bigint".into(),
            ColumnType::Real => "real".into(),
            ColumnType::Double => "double precision".into(),
            ColumnType::Numeric { precision, scale } => format!("numeric({precision},{scale})"),
            ColumnType::Text => "text".into(),
            ColumnType::Varchar(length) => format!("varchar({length})"),
            ColumnType::Bytea => "bytea".into(),
            ColumnType::Date => "date".into(),
            ColumnType::Time => "time".into(),
            ColumnType::Timestamp => "timestamp".into(),
            ColumnType::Timestamptz => "timestamptz".into(),
            ColumnType::Interval => "interval".into(),
            ColumnType::Uuid => "uuid".into(),
            ColumnType::Json => "json".into(),
            ColumnType::Jsonb => "jsonb".into(),
        }
    }

    /// Reads what [`ColumnType::tag`] wrote.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<ColumnType> {
        let arguments = |prefix: &str| tag.strip_prefix(prefix)?.strip_prefix('(')?.strip_suffix(')');
        Some(match tag {
            "boolean" => ColumnType::Boolean,
            "smallint" => ColumnType::SmallInt,
            "integer" => ColumnType::Integer,
            "bigint" => ColumnType::BigInt,
            "real" => ColumnType::Real,
            "double precision" => ColumnType::Double,
            "text" => ColumnType::Text,
            "bytea" => ColumnType::Bytea,
            "date" => ColumnType::Date,
            "time" => ColumnType::Time,
            "timestamp" => ColumnType::Timestamp,
            "timestamptz" => ColumnType::Timestamptz,
            "interval" => ColumnType::Interval,
            "uuid" => ColumnType::Uuid,
            "json" => ColumnType::Json,
            "jsonb" => ColumnType::Jsonb,
            _ => {
                if let Some(length) = arguments("varchar") {
                    return length.parse().ok().map(ColumnType::Varchar);
                }
                let (precision, scale) = arguments("numeric")?.split_once(',')?;
                ColumnType::Numeric { precision: precision.parse().ok()?, scale: scale.parse().ok()? }
            }
        })
    }

    /// Whether values are text to Arrow.
    #[must_use]
    pub fn is_textual(self) -> bool {
        matches!(
            self,
            ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Uuid | ColumnType::Json | ColumnType::Jsonb
        )
    }
}

/// As PostgreSQL's `format_type` prints it.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Varchar(length) => write!(f, "character varying({length})"),
            ColumnType::Time => f.write_str("time without time zone"),
            ColumnType::Timestamp => f.write_str("timestamp without time zone"),
            ColumnType::Timestamptz => f.write_str("timestamp with time zone"),
            other => f.write_str(&other.tag()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_reads_back() {
        let types = [
            ColumnType::Boolean,
            ColumnType::SmallInt,
            ColumnType::Integer,
            ColumnType::BigInt,
            ColumnType::Real,
            ColumnType::Double,
            ColumnType::Numeric { precision: 15, scale: 2 },
            ColumnType::Text,
            ColumnType::Varchar(25),
            ColumnType::Bytea,
            ColumnType::Date,
            ColumnType::Time,
            ColumnType::Timestamp,
            ColumnType::Timestamptz,
            ColumnType::Interval,
            ColumnType::Uuid,
            ColumnType::Json,
            ColumnType::Jsonb,
        ];
        for column_type in types {
            assert_eq!(ColumnType::from_tag(&column_type.tag()), Some(column_type));
        }
        for bad in ["", "numeric", "numeric(1)", "varchar(x)", "varchar", "int"] {
            assert_eq!(ColumnType::from_tag(bad), None, "{bad}");
        }
    }
}
