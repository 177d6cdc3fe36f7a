//! Flushing: rows in memory become segment files, under the same row ids, while everybody goes on.

use std::{
    ops::Range,
    sync::{Arc, mpsc},
};

use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;
use roaring::RoaringBitmap;

use crate::{
    CHUNK_ROWS, SEGMENT_ROWS_MAX, StoreError, TableId, TableVersion, Version,
    commit::Builder,
    committer::Job,
    database::Shared,
    files::sync_folder,
    manifest::{self, Manifest},
    segment::{Body, Entry, hot::Hot, write::SegmentWriter},
    shelf::MANIFESTS_KEPT,
    wal,
};

/// One flush at a time; holds the LSN of the newest manifest.
#[derive(Debug)]
pub(crate) struct FlushState {
    pub manifest_lsn: Mutex<Option<u64>>,
}

/// A segment file to take the place of what it was written from.
#[derive(Debug, Clone)]
pub(crate) struct Replacement {
    pub table: TableId,
    first_row: u64,
    body: Arc<Body>,
}

/// Makes a manifest of the current version, after writing its rows in memory to files, then forgets the log before the
/// manifest kept besides it. What commits meanwhile stays in memory and in the log.
pub(crate) fn flush(shared: &Shared) -> Result<(), StoreError> {
    let mut manifest_lsn = shared.flushing.manifest_lsn.lock();
    shared.healthy_or_error()?;
    let version = shared.version.load_full();
    if *manifest_lsn == Some(version.lsn) {
        return Ok(());
    }
    let replacements = write_segments(shared, &version)?;
    sync_folder(&shared.folders.segments)?;
    let lsn = version.lsn;
    let mut builder = Builder::new(version);
    for replacement in replacements.iter().cloned() {
        builder.replace(replacement.table, |table| replacement.apply(table));
    }
    let flushed = builder.finish();
    shared.files.keep_version(&flushed);
    let manifest = Manifest::of(&flushed, shared.space.next_oid.load(std::sync::atomic::Ordering::Relaxed))?;
    manifest.write(&shared.folders.manifests)?;
    shared.files.note_manifest(lsn, manifest.file_names());
    *manifest_lsn = Some(lsn);
    drop(flushed);
    if !replacements.is_empty() {
        let (reply, done) = mpsc::sync_channel(1);
        shared.queue.push(Job::Replace { replacements, reply })?;
        done.recv().map_err(|_| StoreError::Closed)?;
    }
    forget(shared)
}

/// Removes what the kept manifests make needless.
fn forget(shared: &Shared) -> Result<(), StoreError> {
    manifest::prune(&shared.folders.manifests, MANIFESTS_KEPT)?;
    wal::remove_before(&shared.folders.wal, shared.files.oldest_manifest_lsn())?;
    shared.files.sweep(&shared.version.load());
    Ok(())
}

fn write_segments(shared: &Shared, version: &Version) -> Result<Vec<Replacement>, StoreError> {
    let mut replacements = Vec::new();
    for table in &version.tables {
        for run in runs(&table.entries) {
            let entries = table.entries.get(run).unwrap_or_default();
            let written = match write_segment(shared, table, entries) {
                // Damage to an older file must not keep new rows from being written.
                Err(StoreError::Corrupted { .. }) => {
                    let hot = entries.iter().position(|entry| entry.body.as_hot().is_some()).unwrap_or(0);
                    write_segment(shared, table, entries.get(hot..).unwrap_or_default())
                }
                written => written,
            };
            replacements.push(written?);
        }
    }
    Ok(replacements)
}

fn write_segment(shared: &Shared, table: &TableVersion, entries: &[Entry]) -> Result<Replacement, StoreError> {
    let name = shared.space.fresh_file(table.id);
    let mut writer = SegmentWriter::create(&shared.folders.segments, &name, &table.schema, &shared.space.cache)?;
    for entry in entries {
        push_all(&mut writer, &entry.body)?;
    }
    let first_row = entries.first().map_or(0, |entry| entry.first_row);
    Ok(Replacement { table: table.id, first_row, body: writer.finish()? })
}

fn push_all(writer: &mut SegmentWriter, body: &Arc<Body>) -> Result<(), StoreError> {
    if let Some(hot) = body.as_hot() {
        return writer.push(hot.batch().clone());
    }
    for chunk in 0..(body.rows() as usize).div_ceil(CHUNK_ROWS) {
        let columns = (0..body.schema().columns().len())
            .map(|column| body.chunk(column, chunk))
            .collect::<Result<Vec<_>, StoreError>>()?;
        writer.push(RecordBatch::try_new(Arc::clone(body.schema().arrow()), columns)?)?;
    }
    Ok(())
}

/// Neighbouring hot segments, and before them those cold ones that are no larger than what follows: so that a trickle
/// of rows makes O(log n) files, not one for each flush.
fn runs(entries: &[Entry]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut index = 0;
    while let Some(entry) = entries.get(index) {
        if entry.body.as_hot().is_none() {
            index += 1;
            continue;
        }
        let (mut start, mut end) = (index, index + 1);
        let mut rows = entry.body.rows() as usize;
        let mut next_row = entry.end();
        while let Some(entry) = entries.get(end).filter(|entry| entry.body.as_hot().is_some())
            && entry.first_row == next_row
            && rows + entry.body.rows() as usize <= SEGMENT_ROWS_MAX
        {
            rows += entry.body.rows() as usize;
            next_row = entry.end();
            end += 1;
        }
        let floor = runs.last().map_or(0, |run| run.end);
        while let Some(before) = start.checked_sub(1).filter(|&before| before >= floor)
            && let (Some(entry), Some(first)) = (entries.get(before), entries.get(start))
            && entry.end() == first.first_row
            && (entry.body.rows() as usize) < 2 * rows
            && rows + entry.body.rows() as usize <= SEGMENT_ROWS_MAX
        {
            rows += entry.body.rows() as usize;
            start = before;
        }
        runs.push(start..end);
        index = end;
    }
    runs
}

impl Replacement {
    /// Takes the place of the rows it covers. What was deleted of them meanwhile stays deleted, be it single rows or
    /// whole segments.
    pub fn apply(self, table: &mut TableVersion) {
        let (from, to) = (self.first_row, self.first_row + u64::from(self.body.rows()));
        let mut deleted = RoaringBitmap::new();
        deleted.insert_range(0..self.body.rows());
        let mut before = Vec::new();
        let mut after = Vec::new();
        let mut found = false;
        for entry in table.entries.drain(..) {
            if entry.end() <= from {
                before.push(entry);
                continue;
            }
            if entry.first_row >= to {
                after.push(entry);
                continue;
            }
            found = true;
            let (low, high) = (entry.first_row.max(from), entry.end().min(to));
            let position = |row: u64| u32::try_from(row - from).unwrap_or(u32::MAX);
            deleted.remove_range(position(low)..position(high));
            let masked = entry.deleted.iter().flat_map(|mask| mask.iter()).map(|at| entry.first_row + u64::from(at));
            deleted.extend(masked.filter(|row| (low..high).contains(row)).map(position));
            before.extend(part(&entry, entry.first_row, from));
            after.extend(part(&entry, to, entry.end()));
        }
        table.entries = before;
        if found {
            let deleted = (!deleted.is_empty()).then(|| Arc::new(deleted));
            table.entries.push(Entry { first_row: from, body: self.body, deleted });
        }
        table.entries.extend(after);
    }
}

/// The rows `from .. to` of a hot entry; None when there are none.
fn part(entry: &Entry, from: u64, to: u64) -> Option<Entry> {
    if from >= to {
        return None;
    }
    let hot = entry.body.as_hot()?;
    let start = u32::try_from(from - entry.first_row).ok()?;
    let length = u32::try_from(to - from).ok()?;
    let batch = hot.batch().slice(start as usize, length as usize);
    let mut deleted = RoaringBitmap::new();
    let masked = entry.deleted.iter().flat_map(|mask| mask.range(start..start + length));
    deleted.extend(masked.map(|position| position - start));
    let deleted = (!deleted.is_empty()).then(|| Arc::new(deleted));
    Some(Entry { first_row: from, body: Body::hot(entry.body.schema(), Hot::new(batch)), deleted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{segment::locate, testing};

    fn hot(first_row: u64, rows: i64) -> Entry {
        let batch = testing::orders(i64::try_from(first_row).unwrap(), rows);
        Entry { first_row, body: Body::hot(&testing::orders_schema(), Hot::new(batch)), deleted: None }
    }

    fn table(entries: Vec<Entry>) -> TableVersion {
        let name = weir_model::ObjectName::new("public", "orders").unwrap();
        let mut table = TableVersion::empty(TableId(9), name, testing::orders_schema(), 1);
        table.entries = entries;
        table
    }

    fn live(table: &TableVersion) -> Vec<u64> {
        let last = table.entries.last().map_or(0, Entry::end);
        (0..last).filter(|&row| locate(&table.entries, row).is_some_and(|(entry, at)| entry.is_live(at))).collect()
    }

    #[test]
    fn what_happened_since_a_flush_began_is_kept() {
        // Written from the rows 10..20; since then the tail was merged past the end, and rows were deleted.
        let replacement = || Replacement { table: TableId(9), first_row: 10, body: hot(10, 10).body };
        let check = |mut entries: Vec<Entry>, doomed: &[u64]| {
            for &row in doomed {
                let index = crate::segment::locate_index(&entries, row).unwrap();
                let position = u32::try_from(row - entries[index].first_row).unwrap();
                entries[index].delete(&RoaringBitmap::from_iter([position]));
            }
            let mut table = table(entries);
            let before = live(&table);
            replacement().apply(&mut table);
            assert_eq!(live(&table), before);
            assert!(table.entries.windows(2).all(|pair| pair[0].end() <= pair[1].first_row));
        };
        check(vec![hot(0, 10), hot(10, 10)], &[]);
        check(vec![hot(0, 10), hot(10, 10), hot(20, 5)], &[0, 12, 19, 24]);
        check(vec![hot(0, 10), hot(10, 15)], &[12, 19, 20, 24]);
        check(vec![hot(5, 20)], &[5, 9, 10, 19, 20]);
        // A part of the rows, or all, were deleted as whole segments.
        check(vec![hot(0, 10), hot(15, 10)], &[16]);
        check(vec![hot(0, 10), hot(20, 10)], &[3]);
    }

    #[test]
    fn small_neighbours_are_written_together() {
        let spans = |entries: &[Entry]| runs(entries).into_iter().map(|run| (run.start, run.end)).collect::<Vec<_>>();
        assert_eq!(spans(&[hot(0, 5), hot(5, 5), hot(10, 1)]), [(0, 3)]);
        assert_eq!(spans(&[hot(0, 5), hot(6, 5)]), [(0, 1), (1, 2)]);
        assert_eq!(spans(&[]), []);
    }
}
