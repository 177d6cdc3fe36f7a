//! Rows on their way out: unmasked until [`UnmaskedRows::mask`] opens them.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::{Stream, StreamExt, stream::BoxStream};
use weir_model::Result;

use crate::mask::{MaskKey, MaskPlan};

/// The rows of a query before masking. They leave it as [`MaskedRows`] only.
pub struct UnmaskedRows {
    pub(crate) schema: SchemaRef,
    pub(crate) source: RowSource,
    pub(crate) key: MaskKey,
}

pub(crate) enum RowSource {
    /// What a key lookup found: no row or one.
    Ready(Option<RecordBatch>),
    Stream(BoxStream<'static, Result<RecordBatch>>),
}

impl RowSource {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        match self {
            RowSource::Ready(batch) => Poll::Ready(batch.take().map(Ok)),
            RowSource::Stream(stream) => stream.poll_next_unpin(context),
        }
    }
}

impl fmt::Debug for UnmaskedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnmaskedRows").field("columns", &self.schema.fields().len()).finish_non_exhaustive()
    }
}

impl UnmaskedRows {
    /// The plan's own masks; there is no other source of a [`MaskPlan`] than the plan.
    #[must_use]
    pub fn mask(self, mask: MaskPlan) -> MaskedRows {
        let mask = (!mask.is_empty()).then_some(mask);
        MaskedRows { source: self.source, mask, key: self.key, rest: None }
    }
}

/// Rows as clients may see them. After an error or the end there is nothing more.
pub struct MaskedRows {
    source: RowSource,
    mask: Option<MaskPlan>,
    key: MaskKey,
    /// Of a batch that came, what is not masked yet.
    rest: Option<RecordBatch>,
}

/// Most rows that are masked at once, on the thread of whoever takes them: a digest takes about a microsecond.
const MASKED_ROWS_MAX: usize = 512;

impl MaskedRows {
    /// Whether it is known, without waiting, that nothing more comes.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        matches!(self.source, RowSource::Ready(None)) && self.rest.is_none()
    }
}

impl fmt::Debug for MaskedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskedRows").field("masked", &self.mask.is_some()).finish_non_exhaustive()
    }
}

impl Stream for MaskedRows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<RecordBatch>>> {
        let this = &mut *self;
        let Some(mask) = &this.mask else { return this.source.poll(context) };
        let batch = match this.rest.take() {
            Some(rest) => rest,
            None => match std::task::ready!(this.source.poll(context)) {
                Some(Ok(batch)) => batch,
                end => return Poll::Ready(end),
            },
        };
        if batch.num_rows() <= MASKED_ROWS_MAX {
            return Poll::Ready(Some(mask.apply(&batch, &this.key)));
        }
        this.rest = Some(batch.slice(MASKED_ROWS_MAX, batch.num_rows() - MASKED_ROWS_MAX));
        Poll::Ready(Some(mask.apply(&batch.slice(0, MASKED_ROWS_MAX), &this.key)))
    }
}

/// The next batch of a source.
pub(crate) async fn next(source: &mut RowSource) -> Option<Result<RecordBatch>> {
    std::future::poll_fn(|context| source.poll(context)).await
}
