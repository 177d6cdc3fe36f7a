use std::fmt;

use weir_model::Value;

use crate::{
    backend::BackendSession,
    session::{rows::RowSource, statement::Statement},
    types::batch::Formats,
};

/// A bound statement, perhaps half read.
pub(super) struct Portal<S: BackendSession> {
    pub(super) statement: Statement<S>,
    pub(super) formats: Formats,
    pub(super) state: State<S>,
}

pub(super) enum State<S: BackendSession> {
    Bound(Vec<Value>),
    /// Suspended by a row limit.
    Suspended(RowSource<S::Rows>),
    /// All rows were sent.
    Exhausted,
    /// Not a query, and run: it cannot run again.
    Done,
}

impl<S: BackendSession> fmt::Debug for Portal<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Bound(_) => "Portal(bound)",
            State::Suspended(_) => "Portal(suspended)",
            State::Exhausted => "Portal(exhausted)",
            State::Done => "Portal(done)",
        })
    }
}
