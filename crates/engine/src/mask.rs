//! What stands in the place of masked values, in Arrow.
//!
//! A [`MaskPlan`] says, for each output column of a statement, what leaves in its place. It is computed once, from the
//! plan's lineage, and applied to every batch that leaves, be it to a client or into another table.
//!
//! | mask | text | other types | NULL |
//! |---|---|---|---|
//! | redact | `***REDACTED***` | NULL | as any other value |
//! | hash | 32 hex digits of HMAC-SHA256 under the org's key | NULL | NULL |
//! | null | NULL | NULL | NULL |
//! | partial | `*`, and the last characters, never more than half of them | NULL | NULL |
//!
//! What was *computed* from a masked value leaves as `***REDACTED***` (text, every source redacted) or NULL: a digest
//! or the last characters of something computed would tell what the mask of the value itself hides.
//!
//! Invariants: Arrow types and names of columns never change; a masked column is nullable.

use std::{collections::BTreeSet, fmt, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, LargeStringArray, RecordBatch, RecordBatchOptions, StringArray, StringViewArray,
        new_null_array,
    },
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::common::ScalarValue;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use weir_model::{Code, Refusal, Result, TYPE_TAG};
use weir_policy::MaskKind;

/// What a redacted text reads as.
pub const REDACTED: &str = "***REDACTED***";

/// Hex digits of a hashed value: 128 bits, so that equal digests mean equal values.
const DIGEST_HEX_DIGITS: usize = 32;

/// The key of an org's hashed values. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MaskKey([u8; 32]);

impl MaskKey {
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> MaskKey {
        MaskKey(bytes)
    }
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey(…)")
    }
}

/// What leaves in the place of one output column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputMask {
    /// The column carries no masked value, or one that was masked where it was read.
    Clear,
    /// The column carries masked values unchanged; `textual` when the masked column itself holds plain text.
    Value { kind: MaskKind, textual: bool },
    /// Computed from masked values, all of them redacted.
    Redacted,
    /// Computed from masked values.
    Null,
}

/// The masks of a statement's output columns, in order, and the masked columns they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaskPlan {
    columns: Arc<[OutputMask]>,
    sources: Arc<[Box<[String]>]>,
    any: bool,
}

impl MaskPlan {
    /// `columns` pairs each output's mask with the names (`table.column:mask`) of what it comes from.
    pub(crate) fn new(columns: impl IntoIterator<Item = (OutputMask, Vec<String>)>) -> MaskPlan {
        let (columns, sources): (Vec<_>, Vec<_>) =
            columns.into_iter().map(|(mask, names)| (mask, names.into_boxed_slice())).unzip();
        let any = columns.iter().any(|mask| *mask != OutputMask::Clear);
        MaskPlan { columns: columns.into(), sources: sources.into(), any }
    }

    /// The plan of a statement that reads no masked column and returns this many columns.
    #[must_use]
    pub fn clear(columns: usize) -> MaskPlan {
        MaskPlan::new((0..columns).map(|_| (OutputMask::Clear, Vec::new())))
    }

    /// True when batches pass untouched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.any
    }

    /// The masked columns that reach the output, sorted, those masked where they were read included:
    /// `customer.c_phone:redact`.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.sources.iter().flatten().collect();
        names.into_iter().cloned().collect()
    }

    #[cfg(test)]
    pub(crate) fn columns(&self) -> &[OutputMask] {
        &self.columns
    }

    /// The plan of the columns at these positions, in this order; a position beyond the last is hidden altogether.
    #[must_use]
    pub fn project(&self, positions: &[usize]) -> MaskPlan {
        MaskPlan::new(positions.iter().map(|&position| {
            let mask = self.columns.get(position).copied().unwrap_or(OutputMask::Null);
            (mask, self.sources.get(position).map(|names| names.to_vec()).unwrap_or_default())
        }))
    }

    /// The schema of what [`apply`](MaskPlan::apply) returns.
    #[must_use]
    pub fn schema(&self, schema: &SchemaRef) -> SchemaRef {
        if self.is_empty() {
            return Arc::clone(schema);
        }
        let fields = schema.fields().iter().enumerate().map(|(position, field)| match self.columns.get(position) {
            Some(OutputMask::Clear) => Arc::clone(field),
            _ if field.is_nullable() => Arc::clone(field),
            _ => Arc::new(field.as_ref().clone().with_nullable(true)),
        });
        Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
    }

    /// Masks a batch.
    ///
    /// # Errors
    /// `internal` when the batch has not the columns the plan was made for: nothing leaves then.
    pub fn apply(&self, batch: &RecordBatch, key: &MaskKey) -> Result<RecordBatch> {
        if batch.num_columns() != self.columns.len() {
            return Err(Refusal::new(Code::Internal, "the result has not the columns that its masks were made for"));
        }
        if self.is_empty() {
            return Ok(batch.clone());
        }
        let input = batch.schema();
        let columns = batch.columns().iter().zip(input.fields()).zip(self.columns.iter());
        let columns =
            columns.map(|((array, field), mask)| mask.array(array, field, key)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema(&input), columns, &options).map_err(|error| failed(&error))
    }
}

impl OutputMask {
    fn array(self, array: &ArrayRef, field: &Field, key: &MaskKey) -> Result<ArrayRef> {
        match self {
            OutputMask::Clear => Ok(Arc::clone(array)),
            OutputMask::Value { kind, textual } if textual && is_plain_text(field) => mask_text(array, kind, key),
            OutputMask::Redacted if is_plain_text(field) => redacted(array),
            OutputMask::Value { .. } | OutputMask::Redacted | OutputMask::Null => {
                Ok(new_null_array(array.data_type(), array.len()))
            }
        }
    }
}

/// True for columns whose readers expect any text: not for uuid and json, which are kept as text but must parse.
pub(crate) fn is_plain_text(field: &Field) -> bool {
    let formatted = matches!(field.metadata().get(TYPE_TAG).map(String::as_str), Some("uuid" | "json" | "jsonb"));
    is_text(field.data_type()) && !formatted
}

pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Masks an array of text, of any of Arrow's forms of it.
pub(crate) fn mask_text(array: &ArrayRef, kind: MaskKind, key: &MaskKey) -> Result<ArrayRef> {
    match kind {
        MaskKind::Redact => redacted(array),
        MaskKind::Null => Ok(new_null_array(array.data_type(), array.len())),
        MaskKind::Hash => {
            let hasher = Hmac::<Sha256>::new_from_slice(&key.0)
                .map_err(|_| Refusal::new(Code::Internal, "the mask key has a wrong length"))?;
            map_text(array, &|text| digest(hasher.clone(), text))
        }
        MaskKind::Partial { show_last } => map_text(array, &|text| partial(text, show_last)),
    }
}

fn redacted(array: &ArrayRef) -> Result<ArrayRef> {
    ScalarValue::from(REDACTED)
        .cast_to(array.data_type())
        .and_then(|constant| constant.to_array_of_size(array.len()))
        .map_err(|error| failed(&error))
}

fn digest(mut hasher: Hmac<Sha256>, text: &str) -> String {
    hasher.update(text.as_bytes());
    let mut digits = hex::encode(hasher.finalize().into_bytes());
    digits.truncate(DIGEST_HEX_DIGITS);
    digits
}

fn partial(text: &str, show_last: u32) -> String {
    let length = text.chars().count();
    let shown = usize::try_from(show_last).unwrap_or(usize::MAX).min(length / 2);
    let hidden = length - shown;
    std::iter::repeat_n('*', hidden).chain(text.chars().skip(hidden)).collect()
}

fn map_text(array: &ArrayRef, map: &dyn Fn(&str) -> String) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Utf8 => Arc::new(array.as_string::<i32>().iter().map(|text| text.map(map)).collect::<StringArray>()),
        DataType::LargeUtf8 => {
            Arc::new(array.as_string::<i64>().iter().map(|text| text.map(map)).collect::<LargeStringArray>())
        }
        DataType::Utf8View => {
            Arc::new(array.as_string_view().iter().map(|text| text.map(map)).collect::<StringViewArray>())
        }
        DataType::Dictionary(_, values) if is_text(values) => {
            let dictionary = array.as_any_dictionary();
            dictionary.with_values(map_text(dictionary.values(), map)?)
        }
        other => new_null_array(other, array.len()),
    })
}

fn failed(error: &dyn fmt::Display) -> Refusal {
    tracing::error!(%error, "masking failed");
    Refusal::new(Code::Internal, "the result could not be masked")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

    use std::collections::HashMap;

    use arrow::{
        array::{Decimal128Array, Int32Array},
        compute::cast,
    };

    use super::*;

    fn key() -> MaskKey {
        MaskKey::new([7; 32])
    }

    fn column(values: &[Option<&str>], data_type: &DataType) -> ArrayRef {
        let array: ArrayRef = Arc::new(values.iter().copied().collect::<StringArray>());
        cast(&array, data_type).unwrap()
    }

    fn texts(array: &ArrayRef) -> Vec<Option<String>> {
        let plain = cast(array, &DataType::Utf8).unwrap();
        plain.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    fn masked(values: &[Option<&str>], kind: MaskKind) -> Vec<Option<String>> {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let forms = [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View, dictionary];
        let mut seen: Vec<Vec<Option<String>>> = forms
            .iter()
            .map(|form| {
                let output = mask_text(&column(values, form), kind, &key()).unwrap();
                assert_eq!(output.data_type(), form);
                texts(&output)
            })
            .collect();
        seen.dedup();
        assert_eq!(seen.len(), 1, "every form of text is masked alike");
        seen.remove(0)
    }

    fn plan(masks: &[OutputMask]) -> MaskPlan {
        MaskPlan::new(masks.iter().map(|mask| (*mask, vec!["t.c:redact".to_owned()])))
    }

    #[test]
    fn each_kind_masks_text_as_its_row_says() {
        let values = [Some("25-989-741-2988"), None, Some(""), Some("ab"), Some("25-989-741-2988")];
        let constant = Some(REDACTED.to_owned());
        assert_eq!(masked(&values, MaskKind::Redact), vec![constant; 5]);
        assert_eq!(masked(&values, MaskKind::Null), vec![None; 5]);
        let partial = masked(&values, MaskKind::Partial { show_last: 4 });
        let expected = [Some("***********2988"), None, Some(""), Some("*b"), Some("***********2988")];
        assert_eq!(partial, expected.map(|text| text.map(str::to_owned)));
        let hashed = masked(&values, MaskKind::Hash);
        assert_eq!(hashed[0], hashed[4]);
        assert_ne!(hashed[0], hashed[3]);
        assert_eq!(hashed[1], None);
        assert!(hashed[0].as_ref().unwrap().len() == DIGEST_HEX_DIGITS);
    }

    #[test]
    fn a_partial_mask_shows_at_most_half_and_cuts_between_characters() {
        for (text, show_last, expected) in [
            ("", 4, ""),
            ("a", 4, "*"),
            ("abc", 4, "**c"),
            ("abcdef", 0, "******"),
            ("abcdef", u32::MAX, "***def"),
            ("žluťoučký", 3, "******čký"),
        ] {
            assert_eq!(partial(text, show_last), expected, "{text} {show_last}");
        }
    }

    #[test]
    fn a_digest_is_the_keyed_one_of_rfc_2104() {
        // Test case 2 of RFC 4231, its key padded with zeros, as HMAC pads it.
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(b"Jefe");
        let input = column(&[Some("what do ya want for nothing?")], &DataType::Utf8);
        let output = mask_text(&input, MaskKind::Hash, &MaskKey::new(bytes)).unwrap();
        assert_eq!(texts(&output), [Some("5bdcc146bf60754e6a042426089575c7".to_owned())]);
    }

    #[test]
    fn other_types_become_null_and_nullable() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("balance", DataType::Decimal128(15, 2), false),
            Field::new("key", DataType::Int32, false),
        ]));
        let balance = Decimal128Array::from(vec![123, 456]).with_precision_and_scale(15, 2).unwrap();
        let columns: Vec<ArrayRef> = vec![Arc::new(balance), Arc::new(Int32Array::from(vec![1, 2]))];
        let batch = RecordBatch::try_new(schema, columns).unwrap();
        for mask in [
            OutputMask::Value { kind: MaskKind::Redact, textual: false },
            OutputMask::Value { kind: MaskKind::Hash, textual: true },
            OutputMask::Redacted,
            OutputMask::Null,
        ] {
            let masks = plan(&[mask, OutputMask::Clear]);
            let output = masks.apply(&batch, &key()).unwrap();
            assert_eq!(output.column(0).null_count(), 2, "{mask:?}");
            assert_eq!(output.column(1), batch.column(1));
            assert_eq!(output.schema(), masks.schema(&batch.schema()));
            assert!(output.schema().field(0).is_nullable() && !output.schema().field(1).is_nullable());
        }
    }

    #[test]
    fn text_that_must_parse_becomes_null() {
        for (tag, expected) in [("uuid", None), ("json", None), ("varchar(20)", Some(REDACTED.to_owned()))] {
            let metadata = HashMap::from([(TYPE_TAG.to_owned(), tag.to_owned())]);
            let field = Field::new("c", DataType::Utf8, true).with_metadata(metadata);
            let batch = RecordBatch::try_new(
                Arc::new(Schema::new(vec![field])),
                vec![column(&[Some("2b8f0dd5-3d3c-4c68-9d45-0f0a3f2ab0c1")], &DataType::Utf8)],
            )
            .unwrap();
            let output = plan(&[OutputMask::Redacted]).apply(&batch, &key()).unwrap();
            assert_eq!(texts(output.column(0)), [expected], "{tag}");
        }
    }

    #[test]
    fn a_clear_plan_returns_the_batch_and_a_wrong_width_nothing() {
        let schema = Arc::new(Schema::new(vec![Field::new("c", DataType::Utf8, false)]));
        let batch = RecordBatch::try_new(schema, vec![column(&[Some("x")], &DataType::Utf8)]).unwrap();
        let clear = MaskPlan::clear(1);
        assert!(clear.is_empty() && clear.describe().is_empty());
        assert_eq!(clear.apply(&batch, &key()).unwrap(), batch);
        assert_eq!(MaskPlan::clear(2).apply(&batch, &key()).unwrap_err().code(), Code::Internal);
        let masks = plan(&[OutputMask::Redacted]);
        assert_eq!(masks.project(&[0, 7]), plan_of(&[(OutputMask::Redacted, 1), (OutputMask::Null, 0)]));
    }

    fn plan_of(masks: &[(OutputMask, usize)]) -> MaskPlan {
        MaskPlan::new(masks.iter().map(|(mask, names)| (*mask, vec!["t.c:redact".to_owned(); *names])))
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", key()), "MaskKey(…)");
    }
}
