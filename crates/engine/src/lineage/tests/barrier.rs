//! Row filters and nodes that lineage does not know.

use std::{fmt, sync::Arc};

use datafusion::{
    common::DFSchemaRef,
    error::Result,
    logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore, col, lit},
};
use weir_model::Code;

use super::{Fixture, Traced, key, trace, words};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
struct TestNode {
    name: &'static str,
    predicate: Expr,
    input: LogicalPlan,
}

impl UserDefinedLogicalNodeCore for TestNode {
    fn name(&self) -> &str {
        self.name
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

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<TestNode> {
        Ok(TestNode { name: self.name, predicate: exprs.remove(0), input: inputs.remove(0) })
    }
}

/// The statement's plan, its scans put under a node that filters by a masked column.
async fn traced(sql: &str, name: &'static str) -> weir_model::Result<Traced> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let fixture = Fixture::new().await;
    let (_, plan) = fixture.analysed(sql).await.unwrap();
    let wrap = |input: LogicalPlan| match &input {
        LogicalPlan::TableScan(scan) if scan.table_name.table() != "orders" => {
            let predicate = match scan.table_name.table() {
                "customer" => col("customer.c_acctbal").gt(lit(100)),
                _ => col("modes.seen_n").gt(lit(1)),
            };
            Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(TestNode { name, predicate, input }) }))
        }
        _ => Transformed::no(input),
    };
    trace(plan.transform_up(|node| Ok(wrap(node))).unwrap().data, &fixture, &key())
}

#[tokio::test]
async fn a_row_filter_may_read_what_it_likes() {
    let Traced { plan, masks } = traced("select c_custkey, c_phone from customer", "TestBarrier").await.unwrap();
    assert_eq!(words(&masks), "- hash");
    assert!(plan.display_indent().to_string().contains("TestBarrier\n"), "{}", plan.display_indent());
    let refusal = traced("select 1 from customer where c_phone = 'x'", "TestBarrier").await.unwrap_err();
    assert_eq!(refusal.code(), Code::MaskedPredicate);
}

#[tokio::test]
async fn masks_at_the_source_stand_above_the_row_filter() {
    let Traced { plan, masks } = traced("select id, seen_n, seen_h from modes", "TestBarrier").await.unwrap();
    assert!(masks.is_empty());
    let text = plan.display_indent().to_string();
    let (mask, barrier) = (text.find("__weir_mask").unwrap(), text.find("TestBarrier").unwrap());
    assert!(mask < barrier, "{text}");
}

#[tokio::test]
async fn unknown_nodes_over_masked_columns_are_refused() {
    let refusal = traced("select c_custkey from customer", "Mystery").await.unwrap_err();
    assert_eq!(refusal.code(), Code::UngovernedPlan);
    assert_eq!(words(&traced("select o_note from orders", "Mystery").await.unwrap().masks), "-");
}
