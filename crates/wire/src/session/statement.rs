use std::{fmt, sync::Arc};

use weir_model::{Code, Refusal, Result, ValueType};
use weir_pipeline::Column;

use crate::{
    backend::{BackendSession, Deallocate},
    types::oid,
};

/// A statement that Parse prepared.
pub(super) struct Statement<S: BackendSession> {
    /// `None` for an empty query.
    pub(super) prepared: Option<S::Prepared>,
    /// OIDs as the client declared them; 0, or shorter, where it left a type open.
    declared: Arc<[u32]>,
    pub(super) is_transaction_control: bool,
    pub(super) deallocates: Option<Deallocate>,
}

impl<S: BackendSession> Clone for Statement<S> {
    fn clone(&self) -> Statement<S> {
        Statement {
            prepared: self.prepared.clone(),
            declared: Arc::clone(&self.declared),
            is_transaction_control: self.is_transaction_control,
            deallocates: self.deallocates.clone(),
        }
    }
}

impl<S: BackendSession> fmt::Debug for Statement<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Statement")
    }
}

impl<S: BackendSession> Statement<S> {
    pub(super) fn empty() -> Statement<S> {
        Statement { prepared: None, declared: Arc::default(), is_transaction_control: false, deallocates: None }
    }

    pub(super) fn new(prepared: S::Prepared, declared: &[u32], parsed: &S::Parsed) -> Statement<S> {
        Statement {
            prepared: Some(prepared),
            declared: declared.into(),
            is_transaction_control: S::is_transaction_control(parsed),
            deallocates: S::deallocates(parsed),
        }
    }

    pub(super) fn parameters(&self) -> &[ValueType] {
        self.prepared.as_ref().map_or(&[], S::parameters)
    }

    pub(super) fn columns(&self) -> Option<&Arc<[Column]>> {
        self.prepared.as_ref().and_then(S::columns)
    }

    /// Whether a result has the columns that were announced when the statement was prepared: a client reads values by
    /// the types it was told, so others must not reach it.
    pub(super) fn check_announced(&self, columns: &Arc<[Column]>) -> Result<()> {
        let same = self.columns().is_some_and(|announced| {
            let same_type = |(left, right): (&Column, &Column)| left.value_type == right.value_type;
            Arc::ptr_eq(announced, columns)
                || (announced.len() == columns.len() && announced.iter().zip(columns.iter()).all(same_type))
        });
        if same {
            return Ok(());
        }
        Err(Refusal::new(Code::Unsupported, "cached plan must not change result type")
            .hint("prepare the statement again"))
    }

    pub(super) fn declared(&self, parameter: usize) -> u32 {
        self.declared.get(parameter).copied().unwrap_or(0)
    }

    /// What ParameterDescription says: the client's own type where it named one.
    pub(super) fn parameter_oids(&self) -> Vec<u32> {
        let resolve = |(index, value_type): (usize, &ValueType)| match self.declared(index) {
            0 | oid::UNKNOWN => oid::of(*value_type),
            declared => declared,
        };
        self.parameters().iter().enumerate().map(resolve).collect()
    }
}
