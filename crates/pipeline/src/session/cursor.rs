use std::{collections::HashMap, sync::Arc};

use arrow::record_batch::RecordBatch;
use tokio::sync::Mutex;
use weir_engine::Column;
use weir_model::{Code, Refusal, Result};

use crate::rows::Rows;

/// Most cursors that a session may have open.
const CURSORS_MAX: usize = 100;

/// Cursors by name; each holds the rows of the version that its query was bound to.
#[derive(Debug, Default)]
pub(crate) struct Cursors(HashMap<String, (Arc<[Column]>, Arc<Mutex<CursorRows>>)>);

impl Cursors {
    pub(crate) fn check_free(&self, name: &str) -> Result<()> {
        if self.0.contains_key(name) {
            return Err(Refusal::new(Code::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        if self.0.len() >= CURSORS_MAX {
            return Err(Refusal::new(Code::ProgramLimitExceeded, "too many open cursors")
                .detail(format!("limit={CURSORS_MAX}"))
                .hint("CLOSE those no longer read"));
        }
        Ok(())
    }

    pub(crate) fn open(&mut self, name: String, rows: Rows) {
        let columns = rows.columns().clone();
        self.0.insert(name, (columns, Arc::new(Mutex::new(CursorRows { rows, rest: None }))));
    }

    pub(crate) fn get(&self, name: &str) -> Result<(Arc<[Column]>, Arc<Mutex<CursorRows>>)> {
        self.0
            .get(name)
            .cloned()
            .ok_or_else(|| Refusal::new(Code::InvalidCursorName, format!("cursor \"{name}\" does not exist")))
    }

    pub(crate) fn close(&mut self, name: &str) -> Result<()> {
        self.get(name)?;
        self.0.remove(name);
        Ok(())
    }

    pub(crate) fn close_all(&mut self) {
        self.0.clear();
    }
}

/// A query's rows, taken as FETCH asks for them.
#[derive(Debug)]
pub(crate) struct CursorRows {
    rows: Rows,
    rest: Option<RecordBatch>,
}

impl CursorRows {
    /// At most `limit` rows; None when there are no more.
    pub(crate) async fn take(&mut self, limit: u64) -> Option<Result<RecordBatch>> {
        let batch = match self.rest.take() {
            Some(batch) => batch,
            None => match self.rows.next().await? {
                Ok(batch) => batch,
                Err(refusal) => return Some(Err(refusal)),
            },
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if batch.num_rows() <= limit {
            return Some(Ok(batch));
        }
        self.rest = Some(batch.slice(limit, batch.num_rows() - limit));
        Some(Ok(batch.slice(0, limit)))
    }
}
