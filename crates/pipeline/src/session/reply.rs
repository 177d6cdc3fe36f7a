use std::sync::Arc;

use weir_engine::Column;
use weir_model::ValueType;
use weir_sql::{CopyOptions, Kind, Statement};

use crate::{copy::CopyIn, memory::StatementMemory, plan_cache::OwnPlan, rows::Rows};

/// One parsed statement.
#[derive(Debug, Clone)]
pub struct Parsed(pub(crate) Statement);

impl Parsed {
    #[must_use]
    pub fn is_transaction_control(&self) -> bool {
        self.0.kind().is_transaction_control()
    }

    /// DEALLOCATE or DISCARD ALL: which prepared statements it drops, all for None.
    #[must_use]
    pub fn deallocates(&self) -> Option<Option<&str>> {
        match self.0.kind() {
            Kind::Deallocate(name) => Some(name.as_deref()),
            Kind::DiscardAll => Some(None),
            _ => None,
        }
    }
}

/// A statement whose parameters and columns are known. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prepared(pub(crate) Arc<PreparedParts>);

#[derive(Debug)]
pub(crate) struct PreparedParts {
    pub statement: Statement,
    pub given_types: Vec<Option<ValueType>>,
    pub parameters: Vec<ValueType>,
    pub columns: Option<Arc<[Column]>>,
    pub plan: OwnPlan,
    pub memory: StatementMemory,
}

impl Prepared {
    #[must_use]
    pub fn parameters(&self) -> &[ValueType] {
        &self.0.parameters
    }

    /// None for a statement that returns no rows.
    #[must_use]
    pub fn columns(&self) -> Option<&Arc<[Column]>> {
        self.0.columns.as_ref()
    }

    #[must_use]
    pub fn parsed(&self) -> Parsed {
        Parsed(self.0.statement.clone())
    }
}

/// What CommandComplete says: `INSERT 0 3`, `BEGIN`, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandTag(pub String);

/// What a statement answers with.
#[derive(Debug)]
pub enum Reply {
    Rows(Box<Rows>),
    Done(CommandTag),
    CopyIn(Box<CopyIn>),
    CopyOut { options: CopyOptions, rows: Box<Rows> },
}

impl Reply {
    pub(crate) fn done(tag: impl Into<String>) -> Reply {
        Reply::Done(CommandTag(tag.into()))
    }
}
