use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray},
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
    },
};

use crate::columns::for_primitive;

const PRECISION: u32 = 10;
pub(crate) const REGISTERS: usize = 1 << PRECISION;

/// How many distinct values there are, within about 3 % (HyperLogLog, Flajolet et al. 2007, with 1,024 registers).
/// Sketches of two sets of rows merge into the sketch of both. The hash is fixed: sketches are stored.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sketch(Box<[u8; REGISTERS]>);

impl Sketch {
    pub fn new() -> Sketch {
        Sketch(Box::new([0; REGISTERS]))
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Sketch> {
        Some(Sketch(Box::new(bytes.try_into().ok()?)))
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    pub fn merge(&mut self, other: &Sketch) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0.iter()) {
            *mine = (*mine).max(*theirs);
        }
    }

    pub fn add_all(&mut self, array: &ArrayRef) {
        let nulls = array.logical_null_count() > 0;
        let present = |row: usize| !nulls || array.is_valid(row);
        match array.data_type() {
            DataType::Boolean => {
                let values = array.as_boolean();
                (0..values.len()).filter(|&row| present(row)).for_each(|row| self.add(mix(values.value(row).into())));
            }
            DataType::Utf8View => {
                let values = array.as_string_view();
                (0..values.len())
                    .filter(|&row| present(row))
                    .for_each(|row| self.add(hash_bytes(values.value(row).as_bytes())));
            }
            DataType::BinaryView => {
                let values = array.as_binary_view();
                (0..values.len()).filter(|&row| present(row)).for_each(|row| self.add(hash_bytes(values.value(row))));
            }
            other => for_primitive!(other, T => {
                let width = size_of::<<T as ArrowPrimitiveType>::Native>();
                let values = array.as_primitive::<T>().values().inner();
                for (row, value) in values.as_slice().chunks_exact(width).enumerate() {
                    if present(row) {
                        self.add(hash_bytes(value));
                    }
                }
            }, else {}),
        }
    }

    fn add(&mut self, hash: u64) {
        let index = (hash >> (u64::BITS - PRECISION)) as usize;
        let rank = (hash << PRECISION).leading_zeros().min(u64::BITS - PRECISION) + 1;
        if let Some(register) = self.0.get_mut(index) {
            *register = (*register).max(u8::try_from(rank).unwrap_or(u8::MAX));
        }
    }

    pub fn estimate(&self) -> u64 {
        let m = REGISTERS as f64;
        let sum: f64 = self.0.iter().map(|&rank| 2_f64.powi(-i32::from(rank))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let empty = self.0.iter().filter(|&&rank| rank == 0).count();
        let estimate = if raw <= 2.5 * m && empty > 0 { m * (m / empty as f64).ln() } else { raw };
        estimate.round() as u64
    }
}

impl std::fmt::Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sketch(about {})", self.estimate())
    }
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = bytes.len() as u64;
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word));
    }
    let mut last = [0_u8; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    mix(hash ^ u64::from_le_bytes(last))
}

/// The finalizer of SplitMix64: every input bit reaches every output bit.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringViewArray};

    use super::*;

    #[test]
    fn estimates_are_within_a_tenth() {
        for distinct in [0_i64, 1, 10, 500, 5_000, 100_000] {
            let mut sketch = Sketch::new();
            let array: ArrayRef = Arc::new(Int64Array::from_iter_values((0..distinct * 3).map(|n| n % distinct)));
            sketch.add_all(&array);
            let error = (sketch.estimate() as f64 - distinct as f64).abs();
            assert!(error <= distinct as f64 * 0.1 + 1.0, "{distinct}: {sketch:?}");
        }
    }

    #[test]
    fn merged_sketches_estimate_the_union() {
        let sketch = |range: std::ops::Range<i32>| {
            let mut sketch = Sketch::new();
            let array: ArrayRef = Arc::new(StringViewArray::from_iter_values(range.map(|n| format!("value {n}"))));
            sketch.add_all(&array);
            sketch
        };
        let mut left = sketch(0..6_000);
        left.merge(&sketch(3_000..9_000));
        assert_eq!(left, sketch(0..9_000));
    }
}
