use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Int64Array, PrimitiveArray, StringViewArray},
    compute::{max, max_boolean, max_string_view, min, min_boolean, min_string_view},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
    },
};
use weir_model::ColumnType;

use super::BLOCK_ROWS;
use crate::columns::for_primitive;

/// What is known of each block of a column, deleted rows included. A null `min` or `max` means that nothing is known,
/// unless the block holds nothing but nulls.
#[derive(Debug, Clone)]
pub struct ColumnZones {
    /// No value of the block is less. Of the column's type, one entry a block.
    pub min: ArrayRef,
    /// No value of the block is greater.
    pub max: ArrayRef,
    pub null_count: Int64Array,
}

/// Texts longer than this are known by a prefix.
const TEXT_BYTES_MAX: usize = 64;

/// Whether columns of the type have zones at all: bytes and intervals have no useful order, JSON is not compared.
pub(crate) fn has_zones(column_type: ColumnType) -> bool {
    !matches!(column_type, ColumnType::Bytea | ColumnType::Interval | ColumnType::Json | ColumnType::Jsonb)
}

impl PartialEq for ColumnZones {
    fn eq(&self, other: &ColumnZones) -> bool {
        self.min.as_ref() == other.min.as_ref()
            && self.max.as_ref() == other.max.as_ref()
            && self.null_count == other.null_count
    }
}

impl ColumnZones {
    pub(crate) fn of(array: &ArrayRef, column_type: ColumnType) -> Option<ColumnZones> {
        if !has_zones(column_type) {
            return None;
        }
        let blocks = array.len().div_ceil(BLOCK_ROWS);
        let block = |index: usize| {
            let start = index * BLOCK_ROWS;
            array.slice(start, BLOCK_ROWS.min(array.len() - start))
        };
        let (least, greatest) = extremes(array.data_type(), blocks, block)?;
        Some(ColumnZones { min: least, max: greatest, null_count: null_counts(array) })
    }

    /// The zones of blocks `start .. start + length`.
    pub(crate) fn slice(&self, start: usize, length: usize) -> ColumnZones {
        let start = start.min(self.null_count.len());
        let length = length.min(self.null_count.len() - start);
        ColumnZones {
            min: self.min.slice(start, length),
            max: self.max.slice(start, length),
            null_count: self.null_count.slice(start, length),
        }
    }
}

pub(crate) fn null_counts(array: &ArrayRef) -> Int64Array {
    (0..array.len().div_ceil(BLOCK_ROWS))
        .map(|index| {
            let start = index * BLOCK_ROWS;
            let nulls = array.slice(start, BLOCK_ROWS.min(array.len() - start)).logical_null_count();
            i64::try_from(nulls).ok()
        })
        .collect()
}

/// Least and greatest value of each of `blocks` arrays; None for types without order.
pub(crate) fn extremes(
    data_type: &DataType,
    blocks: usize,
    block: impl Fn(usize) -> ArrayRef,
) -> Option<(ArrayRef, ArrayRef)> {
    match data_type {
        DataType::Boolean => {
            let least: BooleanArray = (0..blocks).map(|index| min_boolean(block(index).as_boolean())).collect();
            let greatest: BooleanArray = (0..blocks).map(|index| max_boolean(block(index).as_boolean())).collect();
            Some((Arc::new(least), Arc::new(greatest)))
        }
        DataType::Utf8View => {
            let least: StringViewArray = (0..blocks)
                .map(|index| min_string_view(block(index).as_string_view()).map(|text| prefix(text).to_owned()))
                .collect();
            let greatest: StringViewArray = (0..blocks)
                .map(|index| max_string_view(block(index).as_string_view()).and_then(prefix_above))
                .collect();
            Some((Arc::new(least), Arc::new(greatest)))
        }
        DataType::BinaryView | DataType::Interval(_) => None,
        other => for_primitive!(other, T => Some(primitive_extremes::<T>(other, blocks, block)), else None),
    }
}

fn primitive_extremes<T: ArrowPrimitiveType>(
    data_type: &DataType,
    blocks: usize,
    block: impl Fn(usize) -> ArrayRef,
) -> (ArrayRef, ArrayRef) {
    let least: PrimitiveArray<T> = (0..blocks).map(|index| min(block(index).as_primitive::<T>())).collect();
    let greatest: PrimitiveArray<T> = (0..blocks).map(|index| max(block(index).as_primitive::<T>())).collect();
    (Arc::new(least.with_data_type(data_type.clone())), Arc::new(greatest.with_data_type(data_type.clone())))
}

/// At most [`TEXT_BYTES_MAX`] bytes from the front: not greater than the text.
fn prefix(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default()
}

/// A short text not less than the given one, where there is one.
fn prefix_above(text: &str) -> Option<String> {
    if text.len() <= TEXT_BYTES_MAX {
        return Some(text.to_owned());
    }
    let mut above: Vec<char> = prefix(text).chars().collect();
    while let Some(last) = above.pop() {
        if let Some(next) = (u32::from(last) + 1..=u32::from(char::MAX)).take(0x801).find_map(char::from_u32) {
            above.push(next);
            return Some(above.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn every_value_lies_in_its_zone() {
        let batch = testing::rows_of_every_type(0..20_000);
        let schema = testing::every_type_schema();
        for (array, column) in batch.columns().iter().zip(schema.columns()) {
            let Some(zones) = ColumnZones::of(array, column.column_type) else {
                assert!(!has_zones(column.column_type));
                continue;
            };
            assert_eq!(zones.null_count.len(), 3);
            for block in 0..3 {
                let rows = array.slice(block * BLOCK_ROWS, BLOCK_ROWS.min(array.len() - block * BLOCK_ROWS));
                assert_eq!(zones.null_count.value(block), i64::try_from(rows.null_count()).unwrap());
                testing::assert_between(&rows, &zones.min.slice(block, 1), &zones.max.slice(block, 1));
            }
        }
    }

    #[test]
    fn long_texts_are_bounded_by_prefixes() {
        let long = "é".repeat(100);
        assert!(prefix(&long) <= long.as_str() && prefix(&long).len() <= TEXT_BYTES_MAX);
        let above = prefix_above(&long).unwrap();
        assert!(above.as_str() > long.as_str() && above.len() <= TEXT_BYTES_MAX + 4);
        assert_eq!(prefix_above(&char::MAX.to_string().repeat(40)), None);
        assert_eq!(prefix_above("short"), Some("short".into()));
    }
}
