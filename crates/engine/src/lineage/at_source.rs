//! Scans of masked columns, and masks applied right above them (`predicates = "masked"`).

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, Field},
    common::{
        Column, Result, ScalarValue, TableReference,
        metadata::FieldMetadata,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::DataFusionError,
    logical_expr::{
        ColumnarValue, Expr, Extension, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, TableScan, Volatility,
    },
};
use weir_policy::{MaskKind, MaskPredicates};

use super::{
    expression::null_of,
    node::{Node, Tracer},
    predicate, refuse,
    refuse::Use,
    source::{Lineage, Source},
};
use crate::mask::{self, MaskKey, REDACTED};

impl Tracer<'_> {
    /// A scan that stands under no barrier.
    pub(super) fn scan(&self, scan: TableScan) -> Result<Node> {
        if let Some(name) = self.scans.work_table(&scan) {
            return self.work_table_scan(&name, scan);
        }
        let columns = self.scan_columns(&scan);
        self.check_scan_filters(&scan)?;
        self.mask_at_source(LogicalPlan::TableScan(scan), columns)
    }

    /// A row filter over its scan: its predicate is the policy's and may read what it likes.
    pub(super) fn barrier(&self, extension: Extension) -> Result<Node> {
        let inputs = extension.node.inputs();
        let [LogicalPlan::TableScan(scan)] = inputs.as_slice() else {
            return Err(refuse::ungoverned("a row filter of an unknown form"));
        };
        let columns = self.scan_columns(scan);
        self.mask_at_source(LogicalPlan::Extension(extension), columns)
    }

    fn scan_columns(&self, scan: &TableScan) -> Vec<Lineage> {
        let masks = self.scans.masks(scan);
        let lineage = |field: &Arc<Field>| {
            let Some(table) = masks else { return Lineage::default() };
            let Some(mask) = table.masks.iter().find(|mask| *mask.column == **field.name()) else {
                return Lineage::default();
            };
            let source = Source {
                table: table.table.to_owned(),
                column: field.name().clone(),
                kind: mask.kind,
                predicates: mask.predicates,
                textual: mask::is_plain_text(field),
            };
            match mask.predicates {
                MaskPredicates::Masked => Lineage::shown(source),
                _ => Lineage::value_of(source),
            }
        };
        scan.projected_schema.fields().iter().map(lineage).collect()
    }

    /// Filters in a scan that stands under no barrier are the statement's own. Before optimisation there are none;
    /// should there be, they may name columns that the scan does not return.
    fn check_scan_filters(&self, scan: &TableScan) -> Result<()> {
        let Some(table) = self.scans.masks(scan) else { return Ok(()) };
        for filter in &scan.filters {
            filter.apply(|inner| {
                let Expr::Column(column) = inner else { return Ok(TreeNodeRecursion::Continue) };
                let Some(mask) = table.masks.iter().find(|mask| *mask.column == *column.name) else {
                    return Ok(TreeNodeRecursion::Continue);
                };
                let source = Source {
                    table: table.table.to_owned(),
                    column: column.name.clone(),
                    kind: mask.kind,
                    predicates: mask.predicates,
                    textual: false,
                };
                predicate::check_any(&Lineage::value_of(source), Use::Where)?;
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(())
    }

    /// Puts masked values in the place of the columns whose masks say that predicates see those.
    fn mask_at_source(&self, plan: LogicalPlan, columns: Vec<Lineage>) -> Result<Node> {
        if columns.iter().all(|lineage| lineage.shown_source().is_none()) {
            return Ok(Node { plan, columns, changed: false });
        }
        let schema = Arc::clone(plan.schema());
        if schema.fields().len() != columns.len() {
            return Err(refuse::ungoverned("a row filter that changes columns"));
        }
        let exprs = schema.iter().zip(&columns).map(|((qualifier, field), lineage)| match lineage.shown_source() {
            None => Ok(Expr::Column(Column::from((qualifier, field)))),
            Some(source) => masked_column(source, qualifier, field, self.key),
        });
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?);
        Ok(Node { plan, columns, changed: true })
    }
}

fn masked_column(
    source: &Source,
    qualifier: Option<&TableReference>,
    field: &Arc<Field>,
    key: &MaskKey,
) -> Result<Expr> {
    let value = match source.kind {
        _ if !source.textual => null_of(field.data_type())?,
        MaskKind::Null => null_of(field.data_type())?,
        MaskKind::Redact => Expr::Literal(ScalarValue::from(REDACTED).cast_to(field.data_type())?, None),
        kind @ (MaskKind::Hash | MaskKind::Partial { .. }) => {
            let column = Expr::Column(Column::from((qualifier, field)));
            ScalarUDF::new_from_impl(MaskText::new(kind, key.clone())).call(vec![column])
        }
    };
    let metadata = (!field.metadata().is_empty()).then(|| FieldMetadata::from(field.as_ref()));
    Ok(value.alias_qualified_with_metadata(qualifier.cloned(), field.name(), metadata))
}

/// Masks text within a plan. It has no name that a statement can call.
#[derive(Debug, PartialEq, Eq, Hash)]
struct MaskText {
    kind: MaskKind,
    key: MaskKey,
    signature: Signature,
}

impl MaskText {
    fn new(kind: MaskKind, key: MaskKey) -> MaskText {
        MaskText { kind, key, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for MaskText {
    fn name(&self) -> &str {
        "__weir_mask"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        arguments.first().cloned().ok_or_else(|| DataFusionError::Plan("a mask takes one argument".into()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mask = |array: &_| {
            mask::mask_text(array, self.kind, &self.key).map_err(|refusal| DataFusionError::External(Box::new(refusal)))
        };
        match args.args.first() {
            Some(ColumnarValue::Array(array)) => Ok(ColumnarValue::Array(mask(array)?)),
            Some(ColumnarValue::Scalar(scalar)) => {
                let masked = mask(&scalar.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&masked, 0)?))
            }
            None => Err(DataFusionError::Plan("a mask takes one argument".into())),
        }
    }
}
