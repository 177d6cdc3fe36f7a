//! The security barrier: the node through which the rows of a table with row security reach the rest of a plan.
//!
//! Its policy predicate is part of it, so no rule merges or reorders it with the user's. Predicates do not pass it,
//! except those that [`crate::leakproof`] moves. It becomes part of the scan below it when the physical plan is made.

use std::{collections::HashSet, fmt};

use datafusion::{
    common::{DFSchemaRef, DataFusionError},
    logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore},
};
use weir_model::ObjectName;

use crate::governed::Stamp;

/// INVARIANT: the input is a scan of `object`'s raw table; the schema is the input's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct Barrier {
    stamp: Stamp,
    /// Which of the statement's barriers this is; [`crate::verify`] knows the predicate it was made with.
    number: usize,
    object: ObjectName,
    predicate: Expr,
    input: LogicalPlan,
}

impl Barrier {
    pub(crate) fn new(stamp: Stamp, number: usize, object: ObjectName, predicate: Expr, input: LogicalPlan) -> Barrier {
        Barrier { stamp, number, object, predicate, input }
    }

    pub(crate) fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: std::sync::Arc::new(self) })
    }

    /// The barrier that a plan node is, if it is one.
    pub(crate) fn of(plan: &LogicalPlan) -> Option<&Barrier> {
        match plan {
            LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<Barrier>(),
            _ => None,
        }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn object(&self) -> &ObjectName {
        &self.object
    }

    pub(crate) fn predicate(&self) -> &Expr {
        &self.predicate
    }

    pub(crate) fn input(&self) -> &LogicalPlan {
        &self.input
    }

    pub(crate) fn with_input(&self, input: LogicalPlan) -> Barrier {
        Barrier { input, ..self.clone() }
    }
}

impl UserDefinedLogicalNodeCore for Barrier {
    fn name(&self) -> &str {
        "Barrier"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.predicate.clone()]
    }

    /// All: nothing of the user's passes by the optimiser's own rules.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.input.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Row policy: applied")
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Barrier, DataFusionError> {
        let mut exprs = exprs.into_iter();
        let mut inputs = inputs.into_iter();
        match (exprs.next(), exprs.next(), inputs.next(), inputs.next()) {
            (Some(predicate), None, Some(input), None) => Ok(Barrier { predicate, input, ..self.clone() }),
            _ => Err(DataFusionError::Internal("a barrier has one predicate and one input".into())),
        }
    }

    /// Outputs are inputs by position; the optimiser adds the predicate's own columns.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}
