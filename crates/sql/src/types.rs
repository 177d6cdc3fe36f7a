use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, ObjectNamePart, TimezoneInfo};
use weir_model::{Code, ColumnType, Refusal, Result, ValueType};

/// The column type that a written type means.
///
/// # Errors
/// `unsupported` for a type no column may have, `invalid_parameter` for a precision, scale or length out of bounds.
pub fn column_type(written: &DataType) -> Result<ColumnType> {
    Ok(match written {
        DataType::Boolean | DataType::Bool => ColumnType::Boolean,
        DataType::SmallInt(None) | DataType::Int2(None) => ColumnType::SmallInt,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => ColumnType::Integer,
        DataType::BigInt(None) | DataType::Int8(None) => ColumnType::BigInt,
        DataType::Real | DataType::Float4 => ColumnType::Real,
        DataType::DoublePrecision | DataType::Float8 | DataType::Double(ExactNumberInfo::None) => ColumnType::Double,
        DataType::Float(info) => float(info)?,
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info)?,
        DataType::Text | DataType::String(None) => ColumnType::Text,
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            varchar(length.as_ref())?
        }
        DataType::Bytea => ColumnType::Bytea,
        DataType::Date => ColumnType::Date,
        DataType::Time(precision, zone) => {
            microseconds(*precision)?;
            match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => ColumnType::Time,
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => return Err(unsupported(written)),
            }
        }
        DataType::Timestamp(precision, zone) => {
            microseconds(*precision)?;
            match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => ColumnType::Timestamp,
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => ColumnType::Timestamptz,
            }
        }
        DataType::Interval { fields: None, precision: None } => ColumnType::Interval,
        DataType::Uuid => ColumnType::Uuid,
        DataType::JSON => ColumnType::Json,
        DataType::JSONB => ColumnType::Jsonb,
        DataType::Custom(name, arguments) if arguments.is_empty() => match name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] | [_, ObjectNamePart::Identifier(ident)] => {
                named(&ident.value.to_ascii_lowercase()).ok_or_else(|| unsupported(written))?
            }
            _ => return Err(unsupported(written)),
        },
        _ => return Err(unsupported(written)),
    })
}

/// The type of a value that a written type means: a column's, or an array of such.
///
/// # Errors
/// As [`column_type`].
pub fn value_type(written: &DataType) -> Result<ValueType> {
    match written {
        // PostgreSQL has one array type for any number of dimensions, whatever is written.
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => {
            let element = value_type(element)?;
            let element = element.scalar().or(element.element());
            element.map(ValueType::Array).ok_or_else(|| unsupported(written))
        }
        _ => column_type(written).map(ValueType::Scalar),
    }
}

/// Types that the parser leaves as plain names, with or without `pg_catalog.`.
fn named(name: &str) -> Option<ColumnType> {
    Some(match name {
        "bool" => ColumnType::Boolean,
        "int2" => ColumnType::SmallInt,
        "int4" => ColumnType::Integer,
        "int8" => ColumnType::BigInt,
        "float4" => ColumnType::Real,
        "float8" => ColumnType::Double,
        "numeric" => ColumnType::NUMERIC_DEFAULT,
        "text" | "varchar" => ColumnType::Text,
        "timestamptz" => ColumnType::Timestamptz,
        "uuid" => ColumnType::Uuid,
        "json" => ColumnType::Json,
        "jsonb" => ColumnType::Jsonb,
        _ => return None,
    })
}

fn unsupported(written: &DataType) -> Refusal {
    Refusal::unsupported(format!("type `{written}`")).hint(
        "use boolean, smallint, integer, bigint, real, double precision, numeric(p,s), text, varchar(n), bytea, date, \
         time, timestamp, timestamptz, interval, uuid, json or jsonb",
    )
}

fn float(info: &ExactNumberInfo) -> Result<ColumnType> {
    match info {
        ExactNumberInfo::None => Ok(ColumnType::Double),
        ExactNumberInfo::Precision(bits @ 1..=53) => {
            Ok(if *bits <= 24 { ColumnType::Real } else { ColumnType::Double })
        }
        _ => Err(Refusal::new(Code::InvalidParameter, "precision of type float is 1 to 53 bits")),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<ColumnType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(ColumnType::NUMERIC_DEFAULT),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale @ 0..)) if scale.unsigned_abs() <= precision => {
            Ok(ColumnType::Numeric { precision, scale })
        }
        _ => Err(Refusal::new(Code::InvalidParameter, format!("numeric({precision},{scale}) is out of bounds"))
            .hint("precision is 1 to 38 digits, scale 0 to the precision")),
    }
}

fn varchar(length: Option<&CharacterLength>) -> Result<ColumnType> {
    match length {
        None => Ok(ColumnType::Text),
        Some(CharacterLength::IntegerLength { length, unit: None }) if (1..=10_485_760).contains(length) => {
            Ok(ColumnType::Varchar(u32::try_from(*length).unwrap_or(u32::MAX)))
        }
        Some(_) => Err(Refusal::new(Code::InvalidParameter, "length of type varchar is 1 to 10485760 characters")),
    }
}

fn microseconds(precision: Option<u64>) -> Result<()> {
    match precision {
        None | Some(6) => Ok(()),
        Some(other) => Err(Refusal::unsupported(format!("a precision of {other} for times"))
            .hint("times are kept in microseconds; leave the precision out")),
    }
}
