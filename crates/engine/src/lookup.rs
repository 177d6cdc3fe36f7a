//! Key lookups: a query for the one row with a given primary key, without a physical plan; also the one by which an
//! UPDATE or DELETE finds its row.
//!
//! Recognised on the optimised, governed template, so that the policy's predicate is part of what is evaluated. The
//! expressions are built once; placeholders are columns of the one-row batch that they are evaluated on.

mod predicate;
mod row;

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{RecordBatch, RecordBatchOptions, UInt64Array},
    datatypes::{Field, FieldRef, Schema, SchemaRef},
};
use datafusion::{
    common::{
        Column, DFSchema, DataFusionError,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        BinaryExpr, Expr, FetchType, LogicalPlan, Operator, SkipType, TableScan, execution_props::ExecutionProps,
        expr::Placeholder, expr_rewriter::unnormalize_col, physical_planning_context::PhysicalPlanningContext,
        utils::split_conjunction,
    },
    physical_expr::{PhysicalExpr, create_physical_expr},
};
use weir_model::{ColumnType, ObjectName, Value};

use self::{
    predicate::{Comparison, Predicate},
    row::Row,
};
use crate::{
    barrier::Barrier,
    bind::Bindings,
    binder::undefined_table,
    error::external,
    governance::Snapshot,
    governed::{RawTable, Rows},
    leakproof::{column_of, is_widening, placeholder_of},
    values::value_of,
};

/// A constant that a key column must equal.
#[derive(Debug)]
enum KeyPart {
    Literal(Value),
    Placeholder(String),
}

#[derive(Debug)]
pub(crate) struct KeyLookup {
    object: ObjectName,
    /// In the key's order.
    key: Vec<KeyPart>,
    /// Columns to fetch, by their place in the table.
    columns: Vec<usize>,
    /// Whether the row's id follows them in the batch.
    row_id: bool,
    /// Placeholders that expressions read; they come last in the batch.
    placeholders: Vec<String>,
    row_schema: SchemaRef,
    /// All must be true; the policy's first.
    predicates: Vec<Predicate>,
    outputs: Vec<Output>,
    schema: SchemaRef,
}

#[derive(Debug)]
enum Output {
    Column(usize),
    Computed(Arc<dyn PhysicalExpr>),
}

/// The parts of a plan of the right shape.
struct Shape<'a> {
    outputs: Option<&'a [Expr]>,
    /// From the user's side of the barrier.
    residual: Vec<&'a Expr>,
    policy: Option<&'a Expr>,
    scan: &'a TableScan,
}

fn shape(plan: &LogicalPlan) -> Option<Shape<'_>> {
    let mut outputs = None;
    let mut residual = Vec::new();
    let mut policy = None;
    let mut node = plan;
    loop {
        node = match node {
            LogicalPlan::Limit(limit) if outputs.is_none() && residual.is_empty() => {
                let whole = matches!(limit.get_skip_type(), Ok(SkipType::Literal(0)))
                    && matches!(limit.get_fetch_type(), Ok(FetchType::Literal(fetch)) if fetch != Some(0));
                if !whole {
                    return None;
                }
                &limit.input
            }
            LogicalPlan::Projection(projection) if outputs.is_none() && residual.is_empty() => {
                outputs = Some(projection.expr.as_slice());
                &projection.input
            }
            // Only drops columns that nothing above reads.
            LogicalPlan::Projection(projection)
                if outputs.is_some() && projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) =>
            {
                &projection.input
            }
            LogicalPlan::Filter(filter) if policy.is_none() => {
                residual.push(&filter.predicate);
                &filter.input
            }
            LogicalPlan::SubqueryAlias(alias) if policy.is_none() => &alias.input,
            LogicalPlan::Extension(_) if policy.is_none() => {
                let barrier = Barrier::of(node)?;
                policy = Some(barrier.predicate());
                barrier.input()
            }
            LogicalPlan::TableScan(scan) => {
                if scan.fetch == Some(0) {
                    return None;
                }
                return Some(Shape { outputs, residual, policy, scan });
            }
            _ => return None,
        };
    }
}

impl KeyLookup {
    /// None where the plan is no key lookup.
    pub(crate) fn recognise(plan: &LogicalPlan) -> Result<Option<KeyLookup>, DataFusionError> {
        let Some(shape) = shape(plan) else { return Ok(None) };
        let Some(raw) = shape.scan.source.downcast_ref::<RawTable>() else { return Ok(None) };
        if raw.primary_key().is_empty() || !matches!(raw.rows(), Rows::Stored) {
            return Ok(None);
        }
        let filters: Vec<&Expr> = shape.scan.filters.iter().flat_map(split_conjunction).collect();
        let Some((key, settled)) = key_parts(raw, &filters) else { return Ok(None) };
        // What the lookup itself makes true is not asked again.
        let open = filters.iter().enumerate().filter(|(place, _)| !settled.contains(place)).map(|(_, filter)| *filter);
        let predicates: Vec<Expr> = shape
            .policy
            .into_iter()
            .chain(open)
            .chain(shape.residual.iter().copied())
            .map(|expr| unnormalize_col(expr.clone()))
            .collect();
        let outputs: Option<Vec<Expr>> =
            shape.outputs.map(|exprs| exprs.iter().map(|expr| unnormalize_col(expr.clone().unalias())).collect());
        if predicates.iter().chain(outputs.iter().flatten()).any(is_compound) {
            return Ok(None);
        }
        build(plan, raw, key, &predicates, outputs).map(Some)
    }

    /// The row, if it exists, may be seen and passes the statement's own conditions.
    pub(crate) fn run(&self, snapshot: &Snapshot, bindings: &Bindings) -> Result<Option<RecordBatch>, DataFusionError> {
        let gone = || external(undefined_table(self.object.name()));
        let table = snapshot.version.table(&self.object).ok_or_else(gone)?;
        let store = |error: weir_store::StoreError| external(error.into());
        let mut key = Vec::with_capacity(self.key.len());
        for part in &self.key {
            key.push(match part {
                KeyPart::Literal(value) => value.clone(),
                KeyPart::Placeholder(id) => match value_of(&bindings.value(id).map_err(external)?) {
                    Some(value) => value,
                    None => return Ok(None),
                },
            });
        }
        let Some(row) = table.lookup(&key).map_err(store)? else { return Ok(None) };
        let mut columns = table.row(row, &self.columns).map_err(store)?;
        if self.row_id {
            columns.push(Arc::new(UInt64Array::from(vec![row.0])));
        }
        for id in &self.placeholders {
            columns.push(bindings.value(id).map_err(external)?.to_array()?);
        }
        let row = Row::new(columns, &self.row_schema);
        for predicate in &self.predicates {
            if !predicate.holds(&row)? {
                return Ok(None);
            }
        }
        let outputs = self
            .outputs
            .iter()
            .map(|output| match output {
                Output::Column(index) => row
                    .column(*index)
                    .cloned()
                    .ok_or_else(|| DataFusionError::Internal("a lookup lost a column".into())),
                Output::Computed(expr) => expr.evaluate(row.batch()?)?.into_array(1),
            })
            .collect::<Result<Vec<_>, DataFusionError>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.schema), outputs, &options)?))
    }
}

/// For each key column the constant it must equal, and the filters that say so; None where a column has none.
fn key_parts(raw: &RawTable, filters: &[&Expr]) -> Option<(Vec<KeyPart>, Vec<usize>)> {
    raw.primary_key()
        .iter()
        .map(|index| {
            let field = raw.schema_ref().fields().get(*index)?;
            filters.iter().enumerate().find_map(|(place, filter)| {
                equal_constant(filter, field, raw.column_type(*index)).map(|part| (part, place))
            })
        })
        .collect::<Option<Vec<(KeyPart, usize)>>>()
        .map(|parts| parts.into_iter().unzip())
}

fn equal_constant(filter: &Expr, field: &Field, column_type: ColumnType) -> Option<KeyPart> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
    let names = |side: &Expr| {
        column_of(side).is_some_and(|column| column.name == *field.name())
            && match side {
                Expr::Cast(cast) => is_widening(field.data_type(), cast.field.data_type()),
                _ => true,
            }
    };
    let constant = if names(left) {
        right
    } else if names(right) {
        left
    } else {
        return None;
    };
    // Floating keys compare otherwise than their bytes do (zeros, NaN, rounding of wider constants).
    if matches!(column_type, ColumnType::Real | ColumnType::Double) {
        return None;
    }
    match constant.as_ref() {
        Expr::Literal(value, _) if !value.is_null() => value_of(value).map(KeyPart::Literal),
        // The value as it was sent: the index finds the key that equals it, whatever integer type it has.
        other => placeholder_of(other).map(|placeholder| KeyPart::Placeholder(placeholder.id.clone())),
    }
}

/// Expressions that need more than their row.
fn is_compound(expr: &Expr) -> bool {
    expr.exists(|part| {
        Ok(matches!(
            part,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
        ))
    })
    .unwrap_or(true)
}

fn build(
    plan: &LogicalPlan,
    raw: &RawTable,
    key: Vec<KeyPart>,
    predicates: &[Expr],
    outputs: Option<Vec<Expr>>,
) -> Result<KeyLookup, DataFusionError> {
    let schema = Arc::clone(plan.schema().inner());
    let outputs = outputs.unwrap_or_else(|| {
        schema.fields().iter().map(|field| Expr::Column(Column::new_unqualified(field.name()))).collect()
    });
    let mut columns: BTreeSet<usize> = BTreeSet::new();
    let mut placeholders: Vec<(String, FieldRef)> = Vec::new();
    for expr in predicates.iter().chain(&outputs) {
        for Column { name, .. } in expr.column_refs() {
            columns.insert(raw.schema_ref().index_of(name)?);
        }
        note_placeholders(expr, &mut placeholders)?;
    }
    let fields: Vec<FieldRef> =
        columns.iter().filter_map(|index| raw.schema_ref().fields().get(*index).cloned()).collect();
    // The row's id is the last column, and none that is stored.
    let row_id = raw.has_row_ids() && columns.remove(&(raw.schema_ref().fields().len() - 1));
    let columns: Vec<usize> = columns.into_iter().collect();
    let extra = placeholders.iter().map(|(id, field)| Arc::new(Field::new(id, field.data_type().clone(), true)));
    let row_schema = Arc::new(Schema::new(fields.iter().cloned().chain(extra).collect::<Vec<_>>()));
    let df_schema = DFSchema::try_from(Arc::clone(&row_schema))?;
    let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let physical = |expr: &Expr| {
        let expr = expr.clone().transform_up(|part| match part {
            Expr::Placeholder(Placeholder { id, .. }) => {
                Ok(Transformed::yes(Expr::Column(Column::new_unqualified(id))))
            }
            other => Ok(Transformed::no(other)),
        })?;
        create_physical_expr(&expr.data, &df_schema, &props, &context)
    };
    let predicate = |expr: &Expr| match Comparison::of(expr, &row_schema) {
        Some(comparison) => Ok(Predicate::Comparison(comparison)),
        None => physical(expr).map(Predicate::Computed),
    };
    let conjuncts = predicates.iter().flat_map(split_conjunction);
    let predicates = conjuncts.map(predicate).collect::<Result<Vec<_>, DataFusionError>>()?;
    let outputs = outputs
        .iter()
        .map(|expr| match expr {
            Expr::Column(column) => {
                row_schema.index_of(&column.name).map(Output::Column).map_err(DataFusionError::from)
            }
            other => physical(other).map(Output::Computed),
        })
        .collect::<Result<Vec<_>, DataFusionError>>()?;
    Ok(KeyLookup {
        object: raw.object().clone(),
        key,
        columns,
        row_id,
        placeholders: placeholders.into_iter().map(|(id, _)| id).collect(),
        row_schema,
        predicates,
        outputs,
        schema,
    })
}

fn note_placeholders(expr: &Expr, found: &mut Vec<(String, FieldRef)>) -> Result<(), DataFusionError> {
    expr.apply(|part| {
        if let Expr::Placeholder(Placeholder { id, field }) = part
            && !found.iter().any(|(known, _)| known == id)
        {
            let Some(field) = field else {
                return Err(DataFusionError::Internal(format!("the type of {id} is not known")));
            };
            found.push((id.clone(), Arc::clone(field)));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}
