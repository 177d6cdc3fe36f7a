//! Rows of record batches as DataRow messages.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::{BufMut, BytesMut};
use weir_model::{Code, ColumnType, Refusal, Result, ValueType};
use weir_pipeline::Column;

use crate::{
    slow_lane::LARGE_ROW_BYTES,
    types::{
        array, binary,
        calendar::{POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROSECONDS},
        scalar::{Scalar, Source},
        text,
        zone::Zone,
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Binary,
}

/// The format of each result column, as a Bind message gives them: none (all text), one for all, or one each.
#[derive(Debug, Clone, Default)]
pub(crate) enum Formats {
    #[default]
    AllText,
    AllBinary,
    Each(Arc<[Format]>),
}

impl Formats {
    pub(crate) fn of(&self, column: usize) -> Format {
        match self {
            Formats::AllText => Format::Text,
            Formats::AllBinary => Format::Binary,
            Formats::Each(formats) => formats.get(column).copied().unwrap_or(Format::Text),
        }
    }
}

#[derive(Debug)]
struct Field<'a> {
    source: Source<'a>,
    value_type: ValueType,
    format: Format,
    /// Whether its values differ in length.
    varies: bool,
}

/// Writes the rows of one batch; arrays are downcast once.
#[derive(Debug)]
pub(crate) struct BatchEncoder<'a> {
    fields: Vec<Field<'a>>,
    columns: &'a [Column],
    zone: &'a Zone,
    /// Whether the batch is large enough to hold a large row.
    may_hold_large: bool,
}

impl<'a> BatchEncoder<'a> {
    pub(crate) fn new(
        batch: &'a RecordBatch,
        columns: &'a [Column],
        formats: &Formats,
        zone: &'a Zone,
    ) -> Result<BatchEncoder<'a>> {
        if batch.num_columns() != columns.len() {
            return Err(Refusal::new(Code::Internal, "the result has not the columns that were announced"));
        }
        let fields = batch
            .columns()
            .iter()
            .zip(columns)
            .enumerate()
            .map(|(index, (array, column))| {
                let source = Source::new(array.as_ref())?;
                let varies = array.data_type().primitive_width().is_none();
                Ok(Field { source, value_type: column.value_type, format: formats.of(index), varies })
            })
            .collect::<Result<Vec<Field<'_>>>>()?;
        let varying = batch.columns().iter().zip(&fields).filter(|(_, field)| field.varies);
        let may_hold_large = varying.map(|(array, _)| array.get_array_memory_size()).sum::<usize>() > LARGE_ROW_BYTES;
        Ok(BatchEncoder { fields, columns, zone, may_hold_large })
    }

    /// Whether writing the row takes long.
    pub(crate) fn is_large(&self, row: usize) -> bool {
        let varying = self.fields.iter().filter(|field| field.varies);
        self.may_hold_large && varying.map(|field| field.source.get(row).bytes()).sum::<usize>() > LARGE_ROW_BYTES
    }

    /// Appends one DataRow message; on an error nothing is appended.
    pub(crate) fn put_row(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let start = out.len();
        let result = self.put_fields(row, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn put_fields(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        let start = out.len();
        out.put_u8(b'D');
        out.put_i32(0);
        out.put_u16(self.fields.len() as u16);
        for (index, field) in self.fields.iter().enumerate() {
            let scalar = field.source.get(row);
            if matches!(scalar, Scalar::Null) {
                out.put_i32(-1);
                continue;
            }
            let at = out.len();
            out.put_i32(0);
            let put = put_value(out, &scalar, field.value_type, field.format, self.zone);
            put.and_then(|()| patch_length(out, at, at + 4)).map_err(|fault| self.refusal(fault, index))?;
        }
        patch_length(out, start + 1, start + 1).map_err(|fault| self.refusal(fault, 0))
    }

    /// Appends the text of one value, for COPY; `false` for NULL, which appends nothing.
    pub(crate) fn put_text_field(&self, row: usize, column: usize, out: &mut BytesMut) -> Result<bool> {
        let Some(field) = self.fields.get(column) else { return Ok(false) };
        let scalar = field.source.get(row);
        if matches!(scalar, Scalar::Null) {
            return Ok(false);
        }
        put_value(out, &scalar, field.value_type, Format::Text, self.zone)
            .map_err(|fault| self.refusal(fault, column))?;
        Ok(true)
    }

    pub(crate) fn width(&self) -> usize {
        self.fields.len()
    }

    fn refusal(&self, fault: Unencodable, column: usize) -> Refusal {
        let name = self.columns.get(column).map_or("", |column| column.name.as_str());
        match fault {
            Unencodable::OutOfRange => Refusal::new(
                Code::NumericOutOfRange,
                format!("a value of column \"{name}\" is out of range for its type"),
            ),
            Unencodable::Mismatch => {
                Refusal::new(Code::Internal, format!("a value of column \"{name}\" has not the announced type"))
            }
            Unencodable::TooLong => {
                Refusal::new(Code::ProgramLimitExceeded, format!("a row with column \"{name}\" exceeds 1 GB"))
            }
            Unencodable::Ragged => Refusal::new(
                Code::DatatypeMismatch,
                format!("the arrays within a value of column \"{name}\" have different dimensions"),
            ),
            Unencodable::Unsupported(refusal) => refusal,
        }
    }
}

/// Why a value cannot be sent as its column's type.
#[derive(Debug)]
pub(crate) enum Unencodable {
    OutOfRange,
    Mismatch,
    TooLong,
    /// An array of arrays of different lengths.
    Ragged,
    Unsupported(Refusal),
}

pub(crate) type Put = Result<(), Unencodable>;

/// Writes the distance from `from` to the end into the four bytes at `at`.
pub(crate) fn patch_length(out: &mut BytesMut, at: usize, from: usize) -> Put {
    let length = i32::try_from(out.len() - from).map_err(|_too_long| Unencodable::TooLong)?;
    if length >= 0x4000_0000 {
        return Err(Unencodable::TooLong);
    }
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn put_value(out: &mut BytesMut, scalar: &Scalar<'_>, value_type: ValueType, format: Format, zone: &Zone) -> Put {
    match (value_type, scalar, format) {
        (ValueType::Scalar(column_type), _, Format::Text) => put_text(out, scalar, column_type, zone),
        (ValueType::Scalar(column_type), _, Format::Binary) => put_binary(out, scalar, column_type, zone),
        (ValueType::Array(element), Scalar::List(items), Format::Text) => array::put_text(out, items, element, zone),
        (ValueType::Array(element), Scalar::List(items), Format::Binary) => {
            array::put_binary(out, items, element, zone)
        }
        _ => Err(Unencodable::Mismatch),
    }
}

/// The text form of a value as a column's type prints it.
pub(crate) fn put_text(out: &mut BytesMut, scalar: &Scalar<'_>, column_type: ColumnType, zone: &Zone) -> Put {
    match scalar {
        Scalar::Null => {}
        Scalar::Bool(value) => out.put_u8(if *value { b't' } else { b'f' }),
        Scalar::Int(value) => text::put_i64(out, *value),
        Scalar::Unsigned(value) => text::put_u64(out, *value),
        Scalar::Real(value) if column_type == ColumnType::Double => text::put_f64(out, f64::from(*value)),
        Scalar::Real(value) => text::put_f32(out, *value),
        Scalar::Double(value) if column_type == ColumnType::Real => text::put_f32(out, *value as f32),
        Scalar::Double(value) => text::put_f64(out, *value),
        Scalar::Decimal(value, scale) => text::put_decimal(out, *value, *scale),
        Scalar::Text(value) => out.put_slice(value.as_bytes()),
        Scalar::Bytes(value) => text::put_bytea(out, value),
        Scalar::Date(days) if column_type == ColumnType::Timestamp => {
            text::put_date(out, *days);
            out.put_slice(b" 00:00:00");
        }
        Scalar::Date(days) => text::put_date(out, *days),
        Scalar::Time(value) => text::put_time(out, *value),
        Scalar::Timestamp(value) => {
            let offset = (column_type == ColumnType::Timestamptz).then(|| zone.offset_at(*value));
            text::put_timestamp(out, *value, offset);
        }
        Scalar::Interval { months, days, nanoseconds } => text::put_interval(out, *months, *days, *nanoseconds),
        Scalar::List(_) => return Err(Unencodable::Mismatch),
        Scalar::OutOfRange => return Err(Unencodable::OutOfRange),
    }
    Ok(())
}

/// The binary form of a value as a column's type sends it.
pub(crate) fn put_binary(out: &mut BytesMut, scalar: &Scalar<'_>, column_type: ColumnType, zone: &Zone) -> Put {
    let narrow = |_out_of_range| Unencodable::OutOfRange;
    match (column_type, scalar) {
        (_, Scalar::OutOfRange) => return Err(Unencodable::OutOfRange),
        (ColumnType::Boolean, Scalar::Bool(value)) => out.put_u8(u8::from(*value)),
        (ColumnType::SmallInt, Scalar::Int(value)) => out.put_i16(i16::try_from(*value).map_err(narrow)?),
        (ColumnType::Integer, Scalar::Int(value)) => out.put_i32(i32::try_from(*value).map_err(narrow)?),
        (ColumnType::BigInt, Scalar::Int(value)) => out.put_i64(*value),
        (ColumnType::BigInt, Scalar::Unsigned(value)) => out.put_i64(i64::try_from(*value).map_err(narrow)?),
        (ColumnType::Real, Scalar::Real(value)) => out.put_f32(*value),
        (ColumnType::Real, Scalar::Double(value)) => out.put_f32(*value as f32),
        (ColumnType::Double, Scalar::Real(value)) => out.put_f64(f64::from(*value)),
        (ColumnType::Double, Scalar::Double(value)) => out.put_f64(*value),
        (ColumnType::Numeric { .. }, Scalar::Decimal(value, scale)) => binary::put_numeric(out, *value, *scale),
        (ColumnType::Numeric { .. }, Scalar::Int(value)) => binary::put_numeric(out, i128::from(*value), 0),
        (ColumnType::Numeric { .. }, Scalar::Unsigned(value)) => binary::put_numeric(out, i128::from(*value), 0),
        (ColumnType::Bytea, Scalar::Bytes(value)) => out.put_slice(value),
        (ColumnType::Date, Scalar::Date(days)) => {
            out.put_i32(days.checked_sub(POSTGRES_EPOCH_DAYS).ok_or(Unencodable::OutOfRange)?);
        }
        (ColumnType::Time, Scalar::Time(value)) => out.put_i64(*value),
        (ColumnType::Timestamp | ColumnType::Timestamptz, Scalar::Timestamp(value)) => {
            out.put_i64(value.checked_sub(POSTGRES_EPOCH_MICROSECONDS).ok_or(Unencodable::OutOfRange)?);
        }
        (ColumnType::Interval, Scalar::Interval { months, days, nanoseconds }) => {
            out.put_i64(nanoseconds / 1000);
            out.put_i32(*days);
            out.put_i32(*months);
        }
        (ColumnType::Uuid, Scalar::Text(value)) => {
            out.put_slice(&binary::uuid_bytes(value.as_bytes()).ok_or(Unencodable::Mismatch)?);
        }
        (ColumnType::Uuid, Scalar::Bytes(value)) if value.len() == 16 => out.put_slice(value),
        (ColumnType::Jsonb, Scalar::Text(value)) => {
            out.put_u8(1);
            out.put_slice(value.as_bytes());
        }
        (ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Json, _) => {
            return put_text(out, scalar, column_type, zone);
        }
        _ => return Err(Unencodable::Mismatch),
    }
    Ok(())
}
