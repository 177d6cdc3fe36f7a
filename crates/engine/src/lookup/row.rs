use std::{cell::OnceCell, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
    error::ArrowError,
};

/// The row that was found. It becomes a batch only for expressions: most look-ups have none, and a batch costs more than
/// finding the row.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// Of one value each.
    columns: Vec<ArrayRef>,
    schema: &'a SchemaRef,
    batch: OnceCell<RecordBatch>,
}

impl Row<'_> {
    pub(super) fn new(columns: Vec<ArrayRef>, schema: &SchemaRef) -> Row<'_> {
        Row { columns, schema, batch: OnceCell::new() }
    }

    pub(super) fn column(&self, index: usize) -> Option<&ArrayRef> {
        self.columns.get(index)
    }

    pub(super) fn batch(&self) -> Result<&RecordBatch, ArrowError> {
        if let Some(batch) = self.batch.get() {
            return Ok(batch);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let batch = RecordBatch::try_new_with_options(Arc::clone(self.schema), self.columns.clone(), &options)?;
        Ok(self.batch.get_or_init(|| batch))
    }
}
