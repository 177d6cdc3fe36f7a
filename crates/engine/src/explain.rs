//! EXPLAIN: the shape of a governed plan, without what it must not tell. Policies are named but not shown, neither are
//! the columns they read; there are no row counts, which would count hidden rows.

use std::sync::Arc;

use arrow::{
    array::{RecordBatch, StringViewArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use datafusion::logical_expr::LogicalPlan;
use weir_model::{Code, Refusal, Result};

use crate::{barrier::Barrier, governed::RawTable};

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8View, false)]))
}

pub(crate) fn batch(lines: &[String]) -> Result<RecordBatch> {
    let column: StringViewArray = lines.iter().map(|line| Some(line.as_str())).collect();
    RecordBatch::try_new(schema(), vec![Arc::new(column)])
        .map_err(|_| Refusal::new(Code::Internal, "a plan could not be shown"))
}

pub(crate) fn lines(plan: &LogicalPlan) -> Vec<String> {
    let mut lines = Vec::new();
    walk(plan, 0, &mut lines);
    lines
}

/// Deeper plans are cut, so that showing one is never deeper than making it was.
const DEPTH_MAX: usize = 128;

fn walk(plan: &LogicalPlan, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    if depth > DEPTH_MAX {
        lines.push(format!("{indent}…"));
        return;
    }
    match plan {
        LogicalPlan::TableScan(scan) => {
            let name = match scan.source.downcast_ref::<RawTable>() {
                Some(raw) => raw.object().to_string(),
                None => scan.table_name.to_string(),
            };
            lines.push(format!("{indent}Scan on {name}"));
            if !scan.filters.is_empty() {
                let filters: Vec<String> = scan.filters.iter().map(ToString::to_string).collect();
                lines.push(format!("{indent}  Filter: {}", filters.join(" AND ")));
            }
        }
        _ if Barrier::of(plan).is_some() => {
            lines.push(format!("{indent}Row policy"));
            plan.inputs().into_iter().for_each(|input| walk(input, depth + 1, lines));
        }
        _ => {
            lines.push(format!("{indent}{}", plan.display()));
            plan.inputs().into_iter().for_each(|input| walk(input, depth + 1, lines));
        }
    }
}
