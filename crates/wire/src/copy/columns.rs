use std::sync::Arc;

use arrow::{
    array::{
        ArrayBuilder, ArrayRef, BinaryViewBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
        Float64Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder, StringViewBuilder,
        Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::{Field, IntervalMonthDayNano, Schema, SchemaRef},
};
use weir_model::ColumnType;
use weir_pipeline::Column;
use weir_store::{arrow_field, arrow_type};

use crate::types::{
    datetime_input::{read_date, read_time, read_timestamp, read_timestamptz},
    fault::Fault,
    interval_input::read_interval,
    number_input::{read_decimal, read_f32, read_f64, read_integer},
    scalar_input::{read_bool, read_bytea, read_json, read_text, read_uuid, read_varchar},
    zone::Zone,
};

/// Builds one column from the texts of its values.
#[derive(Debug)]
pub(super) struct ColumnBuilder {
    column_type: ColumnType,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Boolean(BooleanBuilder),
    SmallInt(Int16Builder),
    Integer(Int32Builder),
    BigInt(Int64Builder),
    Real(Float32Builder),
    Double(Float64Builder),
    Numeric(Decimal128Builder),
    Text(StringViewBuilder),
    Bytea(BinaryViewBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
}

/// Runs the same method on whichever builder it is.
macro_rules! each {
    ($values:expr, $builder:ident => $body:expr) => {
        match $values {
            Values::Boolean($builder) => $body,
            Values::SmallInt($builder) => $body,
            Values::Integer($builder) => $body,
            Values::BigInt($builder) => $body,
            Values::Real($builder) => $body,
            Values::Double($builder) => $body,
            Values::Numeric($builder) => $body,
            Values::Text($builder) => $body,
            Values::Bytea($builder) => $body,
            Values::Date($builder) => $body,
            Values::Time($builder) => $body,
            Values::Timestamp($builder) => $body,
            Values::Interval($builder) => $body,
        }
    };
}

impl ColumnBuilder {
    pub(super) fn new(column_type: ColumnType) -> ColumnBuilder {
        let values = match column_type {
            ColumnType::Boolean => Values::Boolean(BooleanBuilder::new()),
            ColumnType::SmallInt => Values::SmallInt(Int16Builder::new()),
            ColumnType::Integer => Values::Integer(Int32Builder::new()),
            ColumnType::BigInt => Values::BigInt(Int64Builder::new()),
            ColumnType::Real => Values::Real(Float32Builder::new()),
            ColumnType::Double => Values::Double(Float64Builder::new()),
            ColumnType::Numeric { .. } => {
                Values::Numeric(Decimal128Builder::new().with_data_type(arrow_type(column_type)))
            }
            ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Uuid | ColumnType::Json | ColumnType::Jsonb => {
                Values::Text(StringViewBuilder::new())
            }
            ColumnType::Bytea => Values::Bytea(BinaryViewBuilder::new()),
            ColumnType::Date => Values::Date(Date32Builder::new()),
            ColumnType::Time => Values::Time(Time64MicrosecondBuilder::new()),
            ColumnType::Timestamp | ColumnType::Timestamptz => {
                Values::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(arrow_type(column_type)))
            }
            ColumnType::Interval => Values::Interval(IntervalMonthDayNanoBuilder::new()),
        };
        ColumnBuilder { column_type, values }
    }

    pub(super) fn column_type(&self) -> ColumnType {
        self.column_type
    }

    pub(super) fn append_null(&mut self) {
        each!(&mut self.values, builder => builder.append_null());
    }

    /// Appends a value from its text.
    #[inline]
    pub(super) fn append(&mut self, text: &[u8], zone: &Zone) -> Result<(), Fault> {
        match &mut self.values {
            Values::Boolean(builder) => builder.append_value(read_bool(text)?),
            Values::SmallInt(builder) => {
                builder.append_value(read_integer(text, i16::MIN.into(), i16::MAX.into())? as i16);
            }
            Values::Integer(builder) => {
                builder.append_value(read_integer(text, i32::MIN.into(), i32::MAX.into())? as i32);
            }
            Values::BigInt(builder) => builder.append_value(read_integer(text, i64::MIN, i64::MAX)?),
            Values::Real(builder) => builder.append_value(read_f32(text)?),
            Values::Double(builder) => builder.append_value(read_f64(text)?),
            Values::Numeric(builder) => {
                let ColumnType::Numeric { precision, scale } = self.column_type else { return Err(Fault::Syntax) };
                builder.append_value(read_decimal(text, precision, scale)?);
            }
            Values::Text(builder) => match self.column_type {
                ColumnType::Varchar(length) => builder.append_value(read_varchar(text, length)?),
                ColumnType::Uuid => builder.append_value(read_uuid(text)?),
                ColumnType::Json | ColumnType::Jsonb => builder.append_value(read_json(text)?),
                _ => builder.append_value(read_text(text)?),
            },
            Values::Bytea(builder) => builder.append_value(read_bytea(text)?),
            Values::Date(builder) => builder.append_value(read_date(text)?),
            Values::Time(builder) => builder.append_value(read_time(text)?),
            Values::Timestamp(builder) => builder.append_value(match self.column_type {
                ColumnType::Timestamptz => read_timestamptz(text, zone)?,
                _ => read_timestamp(text)?,
            }),
            Values::Interval(builder) => {
                let (months, days, nanoseconds) = read_interval(text)?;
                builder.append_value(IntervalMonthDayNano { months, days, nanoseconds });
            }
        }
        Ok(())
    }

    /// The array built so far; starts anew.
    pub(super) fn finish(&mut self) -> ArrayRef {
        each!(&mut self.values, builder => ArrayBuilder::finish(builder))
    }
}

/// What the column is in its table; no column there holds arrays.
pub(super) fn stored_type(column: &Column) -> ColumnType {
    column.value_type.scalar().unwrap_or(ColumnType::Text)
}

/// Fields as the tables have them, except that nullability is judged where the rows go.
pub(super) fn schema(columns: &[Column]) -> SchemaRef {
    let field = |column: &Column| arrow_field(&column.name, stored_type(column), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<Field>>()))
}
