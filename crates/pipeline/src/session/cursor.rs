use std::{collections::HashMap, sync::Arc};

use arrow::record_batch::RecordBatch;
use tokio::sync::Mutex;
use weir_engine::Column;
use weir_model::{Code, Refusal, Result};

use crate::{rows::Rows, session::SessionPolicy};

/// What a cursor's rows look like, and the rows.
type Found = (Arc<[Column]>, Arc<Mutex<CursorRows>>);

/// Most cursors that a session may have open.
const CURSORS_MAX: usize = 100;

/// Cursors by name; each holds the rows of the version that its query was bound to.
#[derive(Debug, Default)]
pub(crate) struct Cursors(HashMap<String, Cursor>);

#[derive(Debug, Clone)]
struct Cursor {
    columns: Arc<[Column]>,
    rows: Arc<Mutex<CursorRows>>,
    /// The bundle that its query was governed by.
    policy: Arc<SessionPolicy>,
    /// Of its query's text.
    bytes: usize,
}

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

    pub(crate) fn open(&mut self, name: String, rows: Rows, policy: Arc<SessionPolicy>, bytes: usize) {
        let columns = rows.columns().clone();
        let rows = Arc::new(Mutex::new(CursorRows { rows, rest: None }));
        self.0.insert(name, Cursor { columns, rows, policy, bytes });
    }

    /// A cursor whose query the bundle in force has governed; an older one's rows are not handed out any more.
    pub(crate) fn get_under(&self, name: &str, policy: &Arc<SessionPolicy>) -> Result<Found> {
        let found = self.get(name)?;
        if self.0.get(name).is_some_and(|cursor| !Arc::ptr_eq(&cursor.policy, policy)) {
            return Err(Refusal::new(Code::PermissionDenied, format!("cursor \"{name}\" is of an earlier policy"))
                .hint("the policy changed since the cursor was declared; declare it again"));
        }
        Ok(found)
    }

    pub(crate) fn get(&self, name: &str) -> Result<Found> {
        self.0
            .get(name)
            .map(|cursor| (Arc::clone(&cursor.columns), Arc::clone(&cursor.rows)))
            .ok_or_else(|| Refusal::new(Code::InvalidCursorName, format!("cursor \"{name}\" does not exist")))
    }

    /// Bytes of the queries' texts together.
    pub(crate) fn bytes(&self) -> usize {
        self.0.values().map(|cursor| cursor.bytes).sum()
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
