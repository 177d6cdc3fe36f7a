//! Reads one partition of a scan: takes units from the shared cursor until none is left.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::{
    array::{BooleanBufferBuilder, Int64Array, RecordBatch, RecordBatchOptions},
    buffer::BooleanBuffer,
    compute::{BatchCoalescer, cast},
    datatypes::{DataType, SchemaRef},
};
use datafusion::common::DataFusionError;
use weir_store::ScanUnit;

use super::{
    Scan, Source,
    filter::{Passing, store},
    probe::Probing,
};

/// The next unit that nobody has taken.
#[derive(Debug, Default)]
pub(super) struct Cursor(AtomicUsize);

impl Cursor {
    fn take(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// Batches of one partition. Filtered rows are gathered into full batches; unfiltered ones pass as they are stored.
pub(super) struct Reader {
    scan: Arc<Scan>,
    schema: SchemaRef,
    cursor: Arc<Cursor>,
    /// Batches that no filter had to pass.
    ready: VecDeque<RecordBatch>,
    coalescer: BatchCoalescer,
    probes: Vec<Probing>,
    /// Rows still wanted.
    left: usize,
    /// The next value of a series.
    position: u64,
    finished: bool,
}

/// Blocks of a unit that have a row left, and which rows of each.
struct Chosen {
    blocks: BooleanBuffer,
    passing: Vec<Passing>,
}

impl Reader {
    pub(super) fn new(scan: Arc<Scan>, schema: SchemaRef, cursor: Arc<Cursor>) -> Result<Reader, DataFusionError> {
        let coalescer = BatchCoalescer::new(Arc::clone(&schema), scan.batch_size)
            .with_biggest_coalesce_batch_size(Some(scan.batch_size / 2));
        let left = scan.fetch.unwrap_or(usize::MAX);
        let probes = scan.probes.iter().cloned().map(Probing::new).collect();
        Ok(Reader {
            scan,
            schema,
            cursor,
            ready: VecDeque::new(),
            coalescer,
            probes,
            left,
            position: 0,
            finished: false,
        })
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, DataFusionError> {
        loop {
            if self.left == 0 {
                return Ok(None);
            }
            if let Some(batch) = self.ready.pop_front().or_else(|| self.coalescer.next_completed_batch()) {
                if batch.num_rows() == 0 {
                    continue;
                }
                let batch = if batch.num_rows() > self.left { batch.slice(0, self.left) } else { batch };
                self.left -= batch.num_rows();
                return Ok(Some(batch));
            }
            if self.finished {
                return Ok(None);
            }
            if !self.advance()? {
                self.finished = true;
                self.coalescer.finish_buffered_batch()?;
            }
        }
    }

    /// Reads one more piece; false when there is none.
    fn advance(&mut self) -> Result<bool, DataFusionError> {
        let scan = Arc::clone(&self.scan);
        match &scan.source {
            Source::Table { units, .. } => match units.get(self.cursor.take()) {
                Some(unit) => self.unit(unit).map(|()| true),
                None => Ok(false),
            },
            Source::Batches(batches) => match batches.get(self.cursor.take()) {
                Some(batch) => self.whole(batch).map(|()| true),
                None => Ok(false),
            },
            Source::Series(series) => {
                let values: Int64Array = series.slice(self.position, scan.batch_size).collect();
                if values.is_empty() {
                    return Ok(false);
                }
                self.position += values.len() as u64;
                let wanted = scan.full_schema.fields().first().map_or(&DataType::Int64, |field| field.data_type());
                let batch = RecordBatch::try_new(Arc::clone(&scan.full_schema), vec![cast(&values, wanted)?])?;
                self.whole(&batch).map(|()| true)
            }
        }
    }

    /// A batch with all columns of the source.
    fn whole(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        let output = self.shape(&batch.project(&self.scan.projection)?)?;
        if self.scan.compiled.is_empty() {
            self.ready.push_back(output);
            return Ok(());
        }
        let filtered = batch.project(&self.scan.compiled.columns)?;
        match self.scan.compiled.rows(&filtered)? {
            Passing::None => {}
            Passing::All => self.coalescer.push_batch(output)?,
            Passing::Some(mask) => self.coalescer.push_batch_with_filter(output, &mask)?,
        }
        Ok(())
    }

    /// Gives a batch the plan's schema: stored nullability and names of hidden columns may differ.
    fn shape(&self, batch: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), batch.columns().to_vec(), &options)?)
    }

    fn unit(&mut self, unit: &ScanUnit) -> Result<(), DataFusionError> {
        let scan = Arc::clone(&self.scan);
        let mut probes = std::mem::take(&mut self.probes);
        let probed = probes.iter().any(Probing::is_active);
        if scan.compiled.is_empty() && !probed {
            self.probes = probes;
            for batch in self.read(unit, &scan.projection, None)? {
                let batch = self.shape(&batch)?;
                self.ready.push_back(batch);
            }
            return Ok(());
        }
        let mut chosen = self.filtered(unit)?;
        for probe in probes.iter_mut().filter(|probe| probe.is_active()) {
            chosen = self.narrow(unit, &[probe.column()], chosen, |batch, passing| probe.narrow(batch, passing))?;
        }
        self.probes = probes;
        self.gather(unit, chosen)
    }

    /// What passes the scan's filters.
    fn filtered(&self, unit: &ScanUnit) -> Result<Chosen, DataFusionError> {
        let filter = &self.scan.compiled;
        let blocks = live_blocks(unit, filter.blocks(unit)?)?;
        let passing = std::iter::repeat_with(|| Passing::All).take(blocks.count_set_bits()).collect();
        let chosen = Chosen { blocks, passing };
        if filter.is_empty() {
            return Ok(chosen);
        }
        self.narrow(unit, &filter.columns, chosen, |batch, _| filter.rows(batch))
    }

    /// Asks again of the blocks that have a row left, by the columns given.
    fn narrow(
        &self,
        unit: &ScanUnit,
        columns: &[usize],
        chosen: Chosen,
        mut ask: impl FnMut(&RecordBatch, Passing) -> Result<Passing, DataFusionError>,
    ) -> Result<Chosen, DataFusionError> {
        if chosen.passing.is_empty() {
            return Ok(chosen);
        }
        let batches = self.read(unit, columns, Some(&chosen.blocks))?;
        if batches.len() != chosen.passing.len() {
            return Err(DataFusionError::Internal("a scan read other blocks than it asked for".into()));
        }
        let mut left = BooleanBufferBuilder::new(chosen.blocks.len());
        left.append_n(chosen.blocks.len(), false);
        let mut passing = Vec::with_capacity(batches.len());
        for ((block, batch), before) in chosen.blocks.set_indices().zip(&batches).zip(chosen.passing) {
            match ask(batch, before)? {
                Passing::None => {}
                some => {
                    left.set_bit(block, true);
                    passing.push(some);
                }
            }
        }
        Ok(Chosen { blocks: left.finish(), passing })
    }

    /// Reads the output columns of what passed.
    fn gather(&mut self, unit: &ScanUnit, chosen: Chosen) -> Result<(), DataFusionError> {
        if chosen.passing.is_empty() {
            return Ok(());
        }
        let batches = self.read(unit, &self.scan.projection, Some(&chosen.blocks))?;
        if batches.len() != chosen.passing.len() {
            return Err(DataFusionError::Internal("a scan read other blocks than it filtered".into()));
        }
        for (batch, passing) in batches.iter().zip(chosen.passing) {
            let output = self.shape(batch)?;
            match passing {
                Passing::Some(mask) => self.coalescer.push_batch_with_filter(output, &mask)?,
                _ => self.coalescer.push_batch(output)?,
            }
        }
        Ok(())
    }

    /// Columns of a unit in the order given; the place after the stored ones is the row id's.
    fn read(
        &self,
        unit: &ScanUnit,
        columns: &[usize],
        blocks: Option<&BooleanBuffer>,
    ) -> Result<Vec<RecordBatch>, DataFusionError> {
        let Some(row_id) = self.scan.has_row_ids.then(|| self.scan.full_schema.fields().len().saturating_sub(1)) else {
            return unit.read(columns, blocks, false).map_err(store);
        };
        let stored: Vec<usize> = columns.iter().copied().filter(|column| *column != row_id).collect();
        let with_row_ids = stored.len() != columns.len();
        let batches = unit.read(&stored, blocks, with_row_ids).map_err(store)?;
        if !with_row_ids {
            return Ok(batches);
        }
        // The row ids come last; put them where they were asked for.
        let mut next = 0;
        let places: Vec<usize> = columns
            .iter()
            .map(|column| {
                if *column == row_id {
                    return stored.len();
                }
                next += 1;
                next - 1
            })
            .collect();
        batches.iter().map(|batch| Ok(batch.project(&places)?)).collect()
    }
}

/// Of the blocks given (all where none are), those in which a row lives: only these give a batch.
fn live_blocks(unit: &ScanUnit, blocks: Option<BooleanBuffer>) -> Result<BooleanBuffer, DataFusionError> {
    let count = unit.blocks().len();
    let blocks = blocks.unwrap_or_else(|| BooleanBuffer::new_set(count));
    let stored: usize = (0..count).map(|block| unit.blocks().stored_rows(block)).sum();
    if unit.rows() == stored {
        return Ok(blocks);
    }
    let mut live = BooleanBufferBuilder::new(count);
    for block in 0..count {
        let selected = block < blocks.len() && blocks.value(block);
        live.append(selected && !unit.read(&[], Some(&single(count, block)), false).map_err(store)?.is_empty());
    }
    Ok(live.finish())
}

fn single(blocks: usize, block: usize) -> BooleanBuffer {
    (0..blocks).map(|candidate| candidate == block).collect()
}

impl Iterator for Reader {
    type Item = Result<RecordBatch, DataFusionError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_batch();
        if next.is_err() {
            self.finished = true;
            self.left = 0;
        }
        next.transpose()
    }
}
