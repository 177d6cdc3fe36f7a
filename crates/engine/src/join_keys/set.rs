//! A set of integers that may answer "perhaps" for what is not in it, never "no" for what is.

use arrow::{
    array::{Array, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray},
    buffer::BooleanBuffer,
    datatypes::{DataType, Date32Type, Int16Type, Int32Type, Int64Type},
};

/// Bits of a set for each of its keys: as many as the keys themselves have.
const BITS_PER_KEY: u64 = 64;
/// A set this wide costs nothing worth counting, however few keys it has.
const BITS_MIN: u64 = 1 << 16;
/// Keys that share a word of the filter, on average.
const KEYS_PER_WORD: usize = 4;

#[derive(Debug)]
pub(crate) enum KeySet {
    /// One bit for each integer from `first` on: exact.
    Range { first: i64, bits: Vec<u64> },
    /// A Bloom filter of one word for each key (Putze, Sanders and Singler 2007), for keys that lie far apart.
    Hashed { words: Vec<u64> },
}

/// Types whose values are integers, and equal exactly when these are.
pub(crate) fn is_key_type(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32)
}

/// Appends a column's values; NULL equals nothing and is left out. False when the column has no such type.
pub(super) fn append_keys(column: &dyn Array, keys: &mut Vec<i64>) -> bool {
    fn append<T: ArrowPrimitiveType<Native: Into<i64>>>(column: &PrimitiveArray<T>, keys: &mut Vec<i64>) {
        if column.null_count() == 0 {
            keys.extend(column.values().iter().map(|value| (*value).into()));
        } else {
            keys.extend(column.iter().flatten().map(Into::into));
        }
    }
    match column.data_type() {
        DataType::Int16 => append::<Int16Type>(column.as_primitive(), keys),
        DataType::Int32 => append::<Int32Type>(column.as_primitive(), keys),
        DataType::Int64 => append::<Int64Type>(column.as_primitive(), keys),
        DataType::Date32 => append::<Date32Type>(column.as_primitive(), keys),
        _ => return false,
    }
    true
}

impl KeySet {
    pub(super) fn of(keys: &[i64]) -> KeySet {
        let Some((first, last)) = keys.iter().min().zip(keys.iter().max()) else {
            return KeySet::Range { first: 0, bits: Vec::new() };
        };
        let span = last.abs_diff(*first);
        let affordable = (keys.len() as u64).saturating_mul(BITS_PER_KEY).max(BITS_MIN);
        match usize::try_from(span / 64) {
            Ok(words) if span < affordable => KeySet::range(*first, words + 1, keys),
            _ => KeySet::hashed(keys),
        }
    }

    fn range(first: i64, words: usize, keys: &[i64]) -> KeySet {
        let mut bits = vec![0_u64; words];
        for key in keys {
            let (word, bit) = place(first, *key);
            if let Some(word) = bits.get_mut(word) {
                *word |= bit;
            }
        }
        KeySet::Range { first, bits }
    }

    fn hashed(keys: &[i64]) -> KeySet {
        let mut words = vec![0_u64; (keys.len() / KEYS_PER_WORD).next_power_of_two()];
        for key in keys {
            let (word, bits) = hash(*key, words.len());
            if let Some(word) = words.get_mut(word) {
                *word |= bits;
            }
        }
        KeySet::Hashed { words }
    }

    /// Which values may be in the set; None when the column's type has no keys.
    pub(crate) fn may_hold(&self, column: &dyn Array) -> Option<BooleanArray> {
        let found = match column.data_type() {
            DataType::Int16 => self.test::<Int16Type>(column.as_primitive()),
            DataType::Int32 => self.test::<Int32Type>(column.as_primitive()),
            DataType::Int64 => self.test::<Int64Type>(column.as_primitive()),
            DataType::Date32 => self.test::<Date32Type>(column.as_primitive()),
            _ => return None,
        };
        Some(match column.nulls() {
            Some(nulls) => BooleanArray::new(&found & nulls.inner(), None),
            None => BooleanArray::new(found, None),
        })
    }

    fn test<T: ArrowPrimitiveType<Native: Into<i64>>>(&self, column: &PrimitiveArray<T>) -> BooleanBuffer {
        let mut values = column.values().iter().map(|value| (*value).into());
        let mut next = move || values.next().unwrap_or(0);
        match self {
            KeySet::Range { first, bits } => BooleanBuffer::collect_bool(column.len(), |_| {
                let (word, bit) = place(*first, next());
                bits.get(word).is_some_and(|word| word & bit != 0)
            }),
            KeySet::Hashed { words } => BooleanBuffer::collect_bool(column.len(), |_| {
                let (word, bits) = hash(next(), words.len());
                words.get(word).is_some_and(|word| word & bits == bits)
            }),
        }
    }
}

/// The word and bit of a key; of one below `first`, a word beyond the set (or, past 2^63 below, any: a "perhaps").
fn place(first: i64, key: i64) -> (usize, u64) {
    let offset = key.wrapping_sub(first).cast_unsigned();
    (usize::try_from(offset / 64).unwrap_or(usize::MAX), 1 << (offset % 64))
}

/// The word of a key among a power of two, and its three bits.
fn hash(key: i64, words: usize) -> (usize, u64) {
    // The finaliser of SplitMix64.
    let mut mixed = key.cast_unsigned();
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let bits = (1 << (mixed & 63)) | (1 << ((mixed >> 6) & 63)) | (1 << ((mixed >> 12) & 63));
    (usize::try_from(mixed >> 32).unwrap_or(0) & (words - 1), bits)
}
