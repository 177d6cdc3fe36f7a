//! Lineage over plans that DataFusion's own SQL planner makes from a few small tables.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod barrier;
mod results;
mod secrets;
mod statements;

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    arrow::{array::RecordBatch, compute::concat_batches},
    common::TableReference,
    datasource::MemTable,
    error::DataFusionError,
    execution::{SessionStateBuilder, context::SessionState},
    logical_expr::{LogicalPlan, TableScan, UserDefinedLogicalNode},
    physical_plan::collect,
    prelude::{SessionConfig, SessionContext},
};
use weir_model::Refusal;
use weir_policy::{ColumnMask, MaskKind, MaskPredicates};

use super::{MaskedScans, TableMasks, Traced, trace};
use crate::mask::{MaskKey, MaskPlan, OutputMask};

/// A database of scans known by their source, as the engine knows its own.
struct Fixture {
    context: SessionContext,
    tables: HashMap<String, Vec<ColumnMask>>,
}

const CUSTOMER: &str = "
    (1, 'Alice Secret', '25-989-741-2988', 711.56, 'regular', 'BUILDING', 'DE123456'),
    (2, 'Bob Secret',   '23-768-687-3665', 121.65, 'late',    'MACHINERY', 'FR987654'),
    (3, 'Carol Secret', '25-989-741-2988', 7498.12, 'regular', 'BUILDING', 'DE123456'),
    (4, NULL,           NULL,              NULL,    'new',     'BUILDING', NULL)";

impl Fixture {
    async fn new() -> Fixture {
        Fixture::with_customers(CUSTOMER).await
    }

    async fn with_customers(customers: &str) -> Fixture {
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .set_bool("datafusion.optimizer.enable_aggregate_dynamic_filter_pushdown", false)
            .set_bool("datafusion.optimizer.enable_join_dynamic_filter_pushdown", false);
        let context = SessionContext::new_with_state(
            SessionStateBuilder::new().with_config(config).with_default_features().build(),
        );
        let mut fixture = Fixture { context, tables: HashMap::new() };
        let mask = |column: &str, kind, predicates| ColumnMask { column: column.into(), kind, predicates };
        let refused = |column: &str, kind| mask(column, kind, MaskPredicates::Refuse);
        let partial = MaskKind::Partial { show_last: 4 };
        fixture
            .table(
                "customer",
                "c_custkey int not null primary key, c_name varchar, c_phone varchar, c_acctbal decimal(15, 2), \
                 c_comment varchar not null, c_mktsegment varchar not null, c_iban varchar",
                customers,
                vec![
                    refused("c_name", MaskKind::Redact),
                    refused("c_phone", MaskKind::Hash),
                    refused("c_acctbal", MaskKind::Null),
                    refused("c_iban", partial),
                ],
            )
            .await;
        fixture
            .table(
                "orders",
                "o_orderkey int not null, o_custkey int not null, o_total decimal(15, 2) not null, o_note varchar",
                "(10, 1, 99.5, 'a'), (11, 1, 10, 'b'), (12, 3, 5.25, NULL)",
                Vec::new(),
            )
            .await;
        fixture
            .table(
                "supplier",
                "s_suppkey int not null, s_name varchar, s_phone varchar not null, s_rating int not null",
                "(7, 'Dora Secret', '25-989-741-2988', 1), (8, 'Emil Secret', '11', 1)",
                vec![
                    refused("s_name", MaskKind::Redact),
                    refused("s_phone", MaskKind::Hash),
                    refused("s_rating", MaskKind::Redact),
                ],
            )
            .await;
        fixture
            .table(
                "modes",
                "id int not null, eq_t varchar, eq_n int, any_t varchar, any_n int, \
                 seen_r varchar not null, seen_h varchar, seen_p varchar, seen_n int not null",
                "(1, 'x-secret', 5, 'y-secret', 100, 'z-secret', 'h-secret', 'p-secret', 42), \
                 (2, 'x-secret', 6, 'w-secret', 200, 'v-secret', NULL, 'q', 43)",
                vec![
                    mask("eq_t", MaskKind::Hash, MaskPredicates::Equality),
                    mask("eq_n", MaskKind::Null, MaskPredicates::Equality),
                    mask("any_t", MaskKind::Redact, MaskPredicates::Any),
                    mask("any_n", MaskKind::Null, MaskPredicates::Any),
                    mask("seen_r", MaskKind::Redact, MaskPredicates::Masked),
                    mask("seen_h", MaskKind::Hash, MaskPredicates::Masked),
                    mask("seen_p", partial, MaskPredicates::Masked),
                    mask("seen_n", MaskKind::Redact, MaskPredicates::Masked),
                ],
            )
            .await;
        fixture
            .context
            .sql("create view people as select c_custkey as id, c_phone as phone from customer")
            .await
            .unwrap();
        fixture
    }

    async fn table(&mut self, name: &str, columns: &str, rows: &str, masks: Vec<ColumnMask>) {
        let made = format!("create table made ({columns}) as values {rows}");
        self.context.sql(&made).await.unwrap().collect().await.unwrap();
        let table = self.context.table_provider("made").await.unwrap();
        self.context.deregister_table("made").unwrap();
        assert!(table.is::<MemTable>());
        self.context.register_table(TableReference::bare(name), table).unwrap();
        self.tables.insert(name.to_owned(), masks);
    }

    async fn analysed(&self, sql: &str) -> Result<(SessionState, LogicalPlan), DataFusionError> {
        let state = self.context.state();
        let plan = state.create_logical_plan(sql).await?;
        let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
        Ok((state, plan))
    }

    async fn trace(&self, sql: &str) -> Result<Traced, Refusal> {
        let (_, plan) = self.analysed(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let traced = trace(plan, self, &key());
        if let Ok(traced) = &traced {
            let valid = traced.plan.check_invariants(datafusion::logical_expr::InvariantLevel::Executable);
            assert!(valid.is_ok(), "{sql}: {valid:?}");
        }
        traced
    }

    /// Runs a statement as the engine does: trace, optimise, execute, mask. Errors are what a client would read.
    async fn run(&self, sql: &str) -> Result<RecordBatch, String> {
        let (state, plan) = self.analysed(sql).await.map_err(|error| format!("planning: {error}"))?;
        let Traced { plan, masks } = trace(plan, self, &key()).map_err(|refusal| refusal.to_string())?;
        let run = async {
            let plan = state.optimizer().optimize(plan, &state, |_, _| {})?;
            let physical = state.query_planner().create_physical_plan(&plan, &state).await?;
            let batches = collect(Arc::clone(&physical), state.task_ctx()).await?;
            Ok::<_, DataFusionError>(concat_batches(&physical.schema(), &batches)?)
        };
        let batch = run.await.map_err(|error| format!("execution: {error}"))?;
        masks.apply(&batch, &key()).map_err(|refusal| refusal.to_string())
    }
}

impl MaskedScans for Fixture {
    fn masks(&self, scan: &TableScan) -> Option<TableMasks<'_>> {
        self.work_table(scan).is_none().then_some(())?;
        let (table, masks) = self.tables.get_key_value(scan.table_name.table())?;
        Some(TableMasks { table, masks })
    }

    fn is_barrier(&self, node: &dyn UserDefinedLogicalNode) -> bool {
        node.name() == "TestBarrier"
    }
}

fn key() -> MaskKey {
    MaskKey::new([1; 32])
}

/// One word for each output column: `-` clear, the mask's name for a value, `redacted` or `hidden` if computed.
fn words(masks: &MaskPlan) -> String {
    let word = |mask: &OutputMask| match mask {
        OutputMask::Clear => "-",
        OutputMask::Value { kind: MaskKind::Redact, .. } => "redact",
        OutputMask::Value { kind: MaskKind::Hash, .. } => "hash",
        OutputMask::Value { kind: MaskKind::Null, .. } => "null",
        OutputMask::Value { kind: MaskKind::Partial { .. }, .. } => "partial",
        OutputMask::Redacted => "redacted",
        OutputMask::Null => "hidden",
    };
    masks.columns().iter().map(word).collect::<Vec<_>>().join(" ")
}

/// `- hash` for what would be returned, or `refused JOIN customer.c_phone`.
async fn outcome(fixture: &Fixture, sql: &str) -> String {
    match fixture.trace(sql).await {
        Ok(traced) => words(&traced.masks),
        Err(refusal) if refusal.code() == weir_model::Code::MaskedPredicate => {
            let detail = refusal.detail_line();
            let part = |name: &str| {
                let found = detail.split("; ").find_map(|part| part.strip_prefix(name));
                found.unwrap_or_else(|| panic!("{detail}")).to_owned()
            };
            assert!(refusal.hint_line().is_some(), "a hint to act on");
            format!("refused {} {}", part("used_in="), part("column="))
        }
        Err(refusal) => refusal.to_string(),
    }
}

async fn check_all(cases: &[(&str, &str)]) {
    let fixture = Fixture::new().await;
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        let actual = outcome(&fixture, sql).await;
        if actual != *expected {
            wrong.push(format!("{sql}\n  expected {expected}\n  actual   {actual}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
