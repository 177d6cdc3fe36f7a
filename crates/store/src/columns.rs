//! Rows as bytes: the layout that log records and block statistics share.
//!
//! A batch is `rows: u32`, then each column in order: a byte that says whether a validity bitmap follows, the bitmap,
//! and the values: a bitmap for booleans, little-endian values for fixed widths, and for text and bytes the lengths
//! (`u32` each) before the bytes themselves. The schema is not repeated; the reader brings it. All integers are little
//! endian. Reading trusts nothing: every length is checked and text must be UTF-8.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray, BooleanArray, PrimitiveArray,
        RecordBatchOptions, StringViewArray, make_view,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNanoType, SchemaRef, Time64MicrosecondType, TimestampMicrosecondType,
    },
    record_batch::RecordBatch,
};

/// Why bytes did not read as rows, for the error that names their file.
pub(crate) type Malformed = String;

const NO_NULLS: u8 = 0;
const HAS_NULLS: u8 = 1;

/// Runs `$body` with `$t` bound to the Arrow primitive type of a fixed-width column.
macro_rules! for_primitive {
    ($data_type:expr, $t:ident => $body:expr, else $other:expr) => {
        match $data_type {
            DataType::Int16 => {
                type $t = Int16Type;
                $body
            }
            DataType::Int32 => {
                type $t = Int32Type;
                $body
            }
            DataType::Int64 => {
                type $t = Int64Type;
                $body
            }
            DataType::Float32 => {
                type $t = Float32Type;
                $body
            }
            DataType::Float64 => {
                type $t = Float64Type;
                $body
            }
            DataType::Decimal128(_, _) => {
                type $t = Decimal128Type;
                $body
            }
            DataType::Date32 => {
                type $t = Date32Type;
                $body
            }
            DataType::Time64(_) => {
                type $t = Time64MicrosecondType;
                $body
            }
            DataType::Timestamp(_, _) => {
                type $t = TimestampMicrosecondType;
                $body
            }
            DataType::Interval(_) => {
                type $t = IntervalMonthDayNanoType;
                $body
            }
            _ => $other,
        }
    };
}
pub(crate) use for_primitive;

/// Appends the rows.
///
/// # Errors
/// When a value is longer than 4 GiB or the type has no layout here; neither passes a table's own checks.
pub(crate) fn encode_rows(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let rows = u32::try_from(batch.num_rows()).map_err(|_| "too many rows for one record".to_owned())?;
    out.extend_from_slice(&rows.to_le_bytes());
    for column in batch.columns() {
        encode_column(column, out)?;
    }
    Ok(())
}

fn encode_column(column: &ArrayRef, out: &mut Vec<u8>) -> Result<(), Malformed> {
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => out.push(NO_NULLS),
        Some(nulls) => {
            out.push(HAS_NULLS);
            encode_bits(nulls.inner(), out);
        }
    }
    match column.data_type() {
        DataType::Boolean => encode_bits(column.as_boolean().values(), out),
        DataType::Utf8View => {
            let array = column.as_string_view();
            encode_bytes(array.len(), |row| if array.is_valid(row) { array.value(row).as_bytes() } else { &[] }, out)?;
        }
        DataType::BinaryView => {
            let array = column.as_binary_view();
            encode_bytes(array.len(), |row| if array.is_valid(row) { array.value(row) } else { &[] }, out)?;
        }
        other => for_primitive!(other, T => {
            out.extend_from_slice(column.as_primitive::<T>().values().inner().as_slice());
        }, else return Err(format!("the type {other} has no layout"))),
    }
    Ok(())
}

fn encode_bits(bits: &BooleanBuffer, out: &mut Vec<u8>) {
    let packed = bits.sliced();
    let bytes = bits.len().div_ceil(8);
    out.extend(packed.as_slice().iter().copied().take(bytes));
}

fn encode_bytes<'a>(rows: usize, value: impl Fn(usize) -> &'a [u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut total = 0_usize;
    for row in 0..rows {
        let length = u32::try_from(value(row).len()).map_err(|_| "a value is longer than 4 GiB".to_owned())?;
        total += length as usize;
        out.extend_from_slice(&length.to_le_bytes());
    }
    if u32::try_from(total).is_err() {
        return Err("the values of one column of one record are longer than 4 GiB together".to_owned());
    }
    out.reserve(total);
    for row in 0..rows {
        out.extend_from_slice(value(row));
    }
    Ok(())
}

/// Reads rows of the given schema back; all bytes must be used.
pub(crate) fn decode_rows(schema: &SchemaRef, bytes: &[u8]) -> Result<RecordBatch, Malformed> {
    let mut reader = Reader { bytes };
    let rows = reader.u32()? as usize;
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(decode_column(field.data_type(), rows, &mut reader)?);
    }
    if !reader.bytes.is_empty() {
        return Err(format!("{} bytes too many after the last column", reader.bytes.len()));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(|error| error.to_string())
}

fn decode_column(data_type: &DataType, rows: usize, reader: &mut Reader<'_>) -> Result<ArrayRef, Malformed> {
    let nulls = match reader.u8()? {
        NO_NULLS => None,
        HAS_NULLS => Some(NullBuffer::new(reader.bits(rows)?)),
        other => return Err(format!("unknown validity mark {other}")),
    };
    match data_type {
        DataType::Boolean => Ok(Arc::new(BooleanArray::new(reader.bits(rows)?, nulls))),
        DataType::Utf8View => {
            let (views, data) = decode_views(rows, reader)?;
            let array = StringViewArray::try_new(views, vec![data], nulls).map_err(|error| error.to_string())?;
            Ok(Arc::new(array))
        }
        DataType::BinaryView => {
            let (views, data) = decode_views(rows, reader)?;
            let array = BinaryViewArray::try_new(views, vec![data], nulls).map_err(|error| error.to_string())?;
            Ok(Arc::new(array))
        }
        other => for_primitive!(other, T => decode_primitive::<T>(other, rows, nulls, reader),
            else Err(format!("the type {other} has no layout"))),
    }
}

fn decode_primitive<T: ArrowPrimitiveType>(
    data_type: &DataType,
    rows: usize,
    nulls: Option<NullBuffer>,
    reader: &mut Reader<'_>,
) -> Result<ArrayRef, Malformed> {
    let length = rows.checked_mul(size_of::<T::Native>()).ok_or("a column's length overflows")?;
    let values = ScalarBuffer::<T::Native>::new(Buffer::from(reader.take(length)?), 0, rows);
    let array = PrimitiveArray::<T>::try_new(values, nulls).map_err(|error| error.to_string())?;
    Ok(Arc::new(array.with_data_type(data_type.clone())))
}

fn decode_views(rows: usize, reader: &mut Reader<'_>) -> Result<(ScalarBuffer<u128>, Buffer), Malformed> {
    let lengths = reader.take(rows.checked_mul(4).ok_or("a column's length overflows")?)?;
    let lengths = lengths.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
    let total: u64 = lengths.clone().map(u64::from).sum();
    let total = u32::try_from(total).map_err(|_| "a column's values are longer than 4 GiB".to_owned())?;
    let data = reader.take(total as usize)?;
    let mut views = Vec::with_capacity(rows);
    let mut offset = 0_u32;
    for length in lengths {
        let end = offset + length;
        let value = data.get(offset as usize..end as usize).ok_or("a value ends outside its column")?;
        views.push(make_view(value, 0, offset));
        offset = end;
    }
    Ok((ScalarBuffer::from(views), Buffer::from(data)))
}

/// Takes bytes from the front and says plainly when there are too few.
pub(crate) struct Reader<'a> {
    pub bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (front, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or_else(|| format!("{length} bytes expected, {} left", self.bytes.len()))?;
        self.bytes = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (front, rest) = self
            .bytes
            .split_first_chunk::<N>()
            .ok_or_else(|| format!("{N} bytes expected, {} left", self.bytes.len()))?;
        self.bytes = rest;
        Ok(*front)
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(u8::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_le_bytes)
    }

    /// A `u32` length and that many bytes.
    pub fn block(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    fn bits(&mut self, rows: usize) -> Result<BooleanBuffer, Malformed> {
        let bytes = self.take(rows.div_ceil(8))?;
        Ok(BooleanBuffer::new(Buffer::from(bytes), 0, rows))
    }
}

/// Appends a `u32` length and the bytes, for [`Reader::block`].
pub(crate) fn encode_block(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let length = u32::try_from(bytes.len()).map_err(|_| "a part of a record is longer than 4 GiB".to_owned())?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn rows_of_every_type_read_back_whole_and_sliced() {
        let batch = testing::rows_of_every_type(0..300);
        for (offset, length) in [(0, 300), (0, 0), (7, 1), (13, 200), (299, 1)] {
            let slice = batch.slice(offset, length);
            let mut bytes = Vec::new();
            encode_rows(&slice, &mut bytes).unwrap();
            assert_eq!(decode_rows(&batch.schema(), &bytes).unwrap(), slice);
        }
    }

    #[test]
    fn cut_or_altered_bytes_never_panic() {
        let batch = testing::rows_of_every_type(0..9);
        let mut bytes = Vec::new();
        encode_rows(&batch, &mut bytes).unwrap();
        for length in 0..bytes.len() {
            assert!(decode_rows(&batch.schema(), &bytes[..length]).is_err(), "{length}");
        }
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 0x81;
            let _ = decode_rows(&batch.schema(), &altered);
        }
    }

    #[test]
    fn one_small_row_costs_few_bytes() {
        let batch = testing::orders(5, 1);
        let mut bytes = Vec::new();
        encode_rows(&batch, &mut bytes).unwrap();
        assert!(bytes.len() < 60, "{}", bytes.len());
    }
}
