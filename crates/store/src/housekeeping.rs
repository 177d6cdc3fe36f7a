use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{StoreError, TableVersion, committer::Job, database::Shared, flush, index::PrimaryIndex, wal};

/// Looks after things this often.
const TICK: Duration = Duration::from_millis(500);
/// Until a spare log file is tried again that found no room: it is a luxury, and writing it takes room from others.
const SPARE_RETRY: Duration = Duration::from_secs(30);
/// Dead rows that an index may hold beyond the living.
const INDEX_SLACK: u64 = 65_536;

/// The background thread: flushes by size and age, readies the log's next file, keeps indexes small.
pub(crate) fn run(shared: &Shared) {
    let mut spare_from = Instant::now();
    loop {
        let wanted = {
            let mut signal = shared.hot.signal.state.lock();
            if !signal.wanted && !signal.stopping {
                shared.hot.signal.wake.wait_for(&mut signal, TICK);
            }
            if signal.stopping {
                return;
            }
            std::mem::take(&mut signal.wanted)
        };
        if shared.healthy_or_error().is_err() {
            continue;
        }
        if spare_from <= Instant::now()
            && let Err(error) = wal::prepare_spare(&shared.folders.wal, shared.options.wal_file_bytes)
        {
            tracing::warn!(%error, "the log goes on without a file made ready");
            spare_from = Instant::now() + SPARE_RETRY;
        }
        let worked = catch_unwind(AssertUnwindSafe(|| tick(shared, wanted)));
        match worked {
            Ok(Ok(())) => shared.hot.signal.state.lock().disk_full = false,
            Ok(Err(StoreError::Closed)) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "flushing failed and will be tried again; the log still has every row");
                try_again(shared, error.is_disk_full());
            }
            Err(_) => {
                tracing::error!("flushing failed and will be tried again; the log still has every row");
                try_again(shared, false);
            }
        }
    }
}

fn try_again(shared: &Shared, disk_full: bool) {
    metrics::counter!("weir_store_flush_failures_total").increment(1);
    std::thread::sleep(TICK);
    let mut signal = shared.hot.signal.state.lock();
    signal.disk_full = disk_full;
    signal.wanted = true;
}

fn tick(shared: &Shared, wanted: bool) -> Result<(), StoreError> {
    let aged = shared.hot.since.lock().is_some_and(|since| since.elapsed() >= shared.options.flush_age);
    if wanted || aged {
        // The clock starts again for what commits from here on.
        *shared.hot.since.lock() = None;
        let started = Instant::now();
        flush::flush(shared)?;
        metrics::histogram!("weir_store_flush_seconds").record(started.elapsed().as_secs_f64());
    }
    shared.space.cache.publish();
    for table in &shared.version.load_full().tables {
        tend_index(shared, table)?;
    }
    Ok(())
}

/// An index also finds rows long dead. When those outnumber the living, a new one takes its place.
fn tend_index(shared: &Shared, table: &Arc<TableVersion>) -> Result<(), StoreError> {
    table.index.merge_runs();
    if (table.index.len() as u64) <= 2 * table.row_count() + INDEX_SLACK {
        return Ok(());
    }
    let index = Arc::new(PrimaryIndex::of_live_rows(&table.schema, &table.entries, table.next_row)?);
    shared.queue.push(Job::Reindex { table: table.id, old: Arc::clone(&table.index), new: index })
}
