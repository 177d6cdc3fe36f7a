//! A scan's filters, compiled: which columns they read, which blocks they rule out, which rows pass.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch},
    buffer::BooleanBuffer,
    compute::{and, filter_record_batch, prep_null_mask_filter},
    datatypes::SchemaRef,
};
use datafusion::{
    common::{Column, DataFusionError, ScalarValue, pruning::PruningStatistics},
    logical_expr::{Expr, utils::split_conjunction},
    physical_expr::{PhysicalExpr, conjunction},
    physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder},
};
use std::collections::HashSet;
use weir_store::{ColumnZones, ScanUnit};

use crate::leakproof::{column_of, is_comparison, is_constant};

/// One conjunct of a scan's filters.
#[derive(Debug, Clone)]
pub(crate) struct Conjunct {
    /// Over the filter columns.
    pub physical: Arc<dyn PhysicalExpr>,
    /// A comparison of a column with a constant: cannot fail, costs little, may rule blocks out.
    pub simple: bool,
}

#[derive(Debug, Default)]
pub(crate) struct ScanFilter {
    /// Columns the filters read, by their place in the source, ascending.
    pub columns: Vec<usize>,
    simple: Vec<Arc<dyn PhysicalExpr>>,
    general: Vec<Arc<dyn PhysicalExpr>>,
    pruning: Option<Arc<PruningPredicate>>,
    /// Columns that `pruning` asks about.
    pruned_by: Vec<(String, usize)>,
}

/// Whether a conjunct is one of the simple ones.
pub(crate) fn is_simple(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            (column_of(&binary.left).is_some() && is_constant(&binary.right))
                || (is_constant(&binary.left) && column_of(&binary.right).is_some())
        }
        Expr::BinaryExpr(binary) => {
            use datafusion::logical_expr::Operator;
            matches!(binary.op, Operator::And | Operator::Or) && is_simple(&binary.left) && is_simple(&binary.right)
        }
        Expr::Between(between) => {
            column_of(&between.expr).is_some() && is_constant(&between.low) && is_constant(&between.high)
        }
        Expr::InList(list) => column_of(&list.expr).is_some() && list.list.iter().all(is_constant),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => column_of(inner).is_some(),
        Expr::Not(inner) => is_simple(inner),
        _ => false,
    }
}

/// The conjuncts of a list of filters.
pub(crate) fn conjuncts(filters: &[Expr]) -> Vec<&Expr> {
    filters.iter().flat_map(split_conjunction).collect()
}

impl ScanFilter {
    /// `schema` is that of the filter columns.
    pub(crate) fn new(columns: Vec<usize>, conjuncts: Vec<Conjunct>, schema: &SchemaRef, prune: bool) -> ScanFilter {
        let (simple, general): (Vec<Conjunct>, Vec<Conjunct>) =
            conjuncts.into_iter().partition(|conjunct| conjunct.simple);
        let simple: Vec<_> = simple.into_iter().map(|conjunct| conjunct.physical).collect();
        let general: Vec<_> = general.into_iter().map(|conjunct| conjunct.physical).collect();
        let pruning = if prune && !simple.is_empty() {
            PruningPredicateBuilder::new()
                .with_file_schema(Arc::clone(schema))
                .build(conjunction(simple.iter().cloned()))
        } else {
            None
        };
        let pruned_by =
            schema.fields().iter().zip(&columns).map(|(field, index)| (field.name().clone(), *index)).collect();
        ScanFilter { columns, simple, general, pruning, pruned_by }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.simple.is_empty() && self.general.is_empty()
    }

    /// The blocks of a unit that may hold a row that passes; None for all of them.
    pub(crate) fn blocks(&self, unit: &ScanUnit) -> Result<Option<BooleanBuffer>, DataFusionError> {
        let Some(pruning) = &self.pruning else { return Ok(None) };
        let mut zones = Vec::with_capacity(self.pruned_by.len());
        for (name, index) in &self.pruned_by {
            let known = unit.blocks().zones(*index).map_err(store)?;
            zones.push((name.as_str(), known));
        }
        if zones.iter().all(|(_, known)| known.is_none()) {
            return Ok(None);
        }
        // A predicate the pruner cannot evaluate rules nothing out.
        Ok(pruning.prune(&UnitZones { unit, zones }).ok().map(BooleanBuffer::from))
    }

    /// Which rows of a batch of the filter columns pass; None when all do.
    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<Passing, DataFusionError> {
        let mut mask: Option<BooleanArray> = None;
        for conjunct in &self.simple {
            let next = evaluate(conjunct, batch)?;
            let joined = match mask {
                Some(mask) => and(&mask, &next)?,
                None => next,
            };
            if joined.true_count() == 0 {
                return Ok(Passing::None);
            }
            mask = Some(joined);
        }
        // What may fail or cost runs only on rows that passed so far.
        for conjunct in &self.general {
            let (next, count) = match &mask {
                Some(mask) if mask.true_count() < batch.num_rows() => {
                    let passed = filter_record_batch(batch, mask)?;
                    let next = spread(mask, &evaluate(conjunct, &passed)?);
                    let count = next.true_count();
                    (next, count)
                }
                _ => {
                    let next = evaluate(conjunct, batch)?;
                    let count = next.true_count();
                    (next, count)
                }
            };
            if count == 0 {
                return Ok(Passing::None);
            }
            mask = Some(next);
        }
        Ok(match mask {
            Some(mask) if mask.true_count() < batch.num_rows() => Passing::Some(mask),
            _ => Passing::All,
        })
    }
}

pub(crate) enum Passing {
    All,
    None,
    Some(BooleanArray),
}

/// NULL does not pass.
fn evaluate(conjunct: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray, DataFusionError> {
    let result = conjunct.evaluate(batch)?.into_array(batch.num_rows())?;
    let Some(flags) = result.as_any().downcast_ref::<BooleanArray>() else {
        return Err(DataFusionError::Internal("a filter is not boolean".into()));
    };
    Ok(if flags.null_count() == 0 { flags.clone() } else { prep_null_mask_filter(flags) })
}

/// Puts the answers for the rows that `mask` passed back at their places.
fn spread(mask: &BooleanArray, answers: &BooleanArray) -> BooleanArray {
    let mut bits = BooleanBufferBuilder::new(mask.len());
    bits.append_n(mask.len(), false);
    for (answer, place) in mask.values().set_indices().enumerate() {
        if answer < answers.len() && answers.value(answer) {
            bits.set_bit(place, true);
        }
    }
    BooleanArray::new(bits.finish(), None)
}

pub(crate) fn store(error: weir_store::StoreError) -> DataFusionError {
    crate::error::external(error.into())
}

/// A unit's zone maps as DataFusion's pruner asks for them.
struct UnitZones<'a> {
    unit: &'a ScanUnit,
    zones: Vec<(&'a str, Option<ColumnZones>)>,
}

impl UnitZones<'_> {
    fn of(&self, column: &Column) -> Option<&ColumnZones> {
        self.zones.iter().find(|(name, _)| *name == column.name).and_then(|(_, zones)| zones.as_ref())
    }
}

impl PruningStatistics for UnitZones<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column).map(|zones| Arc::clone(&zones.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column).map(|zones| Arc::clone(&zones.max))
    }

    fn num_containers(&self) -> usize {
        self.unit.blocks().len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column).map(|zones| {
            let counts = zones.null_count.iter().map(|count| count.and_then(|count| u64::try_from(count).ok()));
            Arc::new(counts.collect::<arrow::array::UInt64Array>()) as ArrayRef
        })
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let blocks = self.unit.blocks();
        let rows = (0..blocks.len()).map(|block| blocks.stored_rows(block) as u64);
        Some(Arc::new(arrow::array::UInt64Array::from_iter_values(rows)))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
