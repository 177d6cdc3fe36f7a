//! A name to its governed source.

use std::sync::Arc;

use datafusion::{
    common::{DFSchema, DataFusionError, TableReference},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource, lit, utils::conjunction},
    optimizer::Analyzer,
};
use weir_model::{Action, Code, ObjectName, Refusal, Result};
use weir_policy::{RowCommand, RowFilter};
use weir_sql::{Kind, ast};
use weir_store::{TableVersion, View};

use super::{Binder, TARGET, VIEW_DEPTH_MAX};
use crate::{
    barrier::Barrier,
    error::plan_refusal,
    governance::ObjectGovernance,
    governed::{GovernedTable, Protection, RawTable, Rows, ViewSource},
    plan::settling,
    types::{plan_schema, scalar_type},
};

/// What a name that is not there, or not for this principal, is answered with: the same in both cases.
pub(crate) fn undefined_table(written: &str) -> Refusal {
    Refusal::new(Code::UndefinedTable, format!("relation \"{written}\" does not exist"))
        .hint("it does not exist, or your roles may not know of it")
}

impl Binder<'_> {
    pub(super) fn resolve(&self, name: &TableReference) -> Result<Arc<dyn TableSource>> {
        let (schema, table) = match name {
            TableReference::Bare { table } => (None, table.as_ref()),
            TableReference::Partial { schema, table } => (Some(schema.as_ref()), table.as_ref()),
            TableReference::Full { .. } => {
                return Err(Refusal::new(
                    Code::SchemaViolation,
                    format!("cross-database reference `{name}` is refused"),
                ));
            }
        };
        if schema.is_none() && table == TARGET {
            return self.target_source();
        }
        if let Some(raw) = self.catalog.as_ref().and_then(|catalog| catalog.table(schema, table)) {
            return Ok(Arc::new(raw.stamped(self.stamp, Protection::Unrestricted)));
        }
        let written = match schema {
            Some(schema) => format!("{schema}.{table}"),
            None => table.to_owned(),
        };
        let default_path = [ObjectName::DEFAULT_SCHEMA.to_owned()];
        let path: &[String] = if self.view_depth.get() > 0 { &default_path } else { &self.snapshot.search_path };
        let candidates: Vec<&str> = match schema {
            Some(schema) => vec![schema],
            None => path.iter().map(String::as_str).collect(),
        };
        for schema in candidates {
            let Ok(object) = ObjectName::new(schema, table) else { continue };
            let Some(governance) = self.governance.objects.get(&object) else { continue };
            if let Some(source) = self.object(&object, governance)? {
                return Ok(source);
            }
        }
        Err(undefined_table(&written))
    }

    /// None where the snapshot has no such object.
    fn object(&self, object: &ObjectName, governance: &ObjectGovernance) -> Result<Option<Arc<dyn TableSource>>> {
        if let Some(known) = self.sources.borrow().get(object) {
            return Ok(Some(Arc::clone(known)));
        }
        let source = if let Some(view) = self.snapshot.version.view(object) {
            self.must_select(object, governance)?;
            self.view(view)?
        } else {
            let raw = if let Some(table) = self.snapshot.version.table(object) {
                stored(table, governance)
            } else if let Some(schema) = self.snapshot.virtuals.schema(object) {
                RawTable::new(object.clone(), schema, Rows::Virtual, self.stamp)
                    .with_masks(Arc::clone(&governance.masks))
            } else {
                return Ok(None);
            };
            self.must_select(object, governance)?;
            self.govern(raw, &[&governance.select])?
        };
        self.sources.borrow_mut().insert(object.clone(), Arc::clone(&source));
        Ok(Some(source))
    }

    fn must_select(&self, object: &ObjectName, governance: &ObjectGovernance) -> Result<()> {
        if governance.allows(Action::Select) {
            return Ok(());
        }
        Err(Refusal::new(Code::PermissionDenied, format!("permission denied for table {}", object.name())))
    }

    /// The rows that UPDATE or DELETE may change, with their ids.
    fn target_source(&self) -> Result<Arc<dyn TableSource>> {
        let Some(target) = &self.target else { return Err(undefined_table(TARGET)) };
        let missing = || undefined_table(target.object.name());
        let governance = self.governance.objects.get(&target.object).ok_or_else(missing)?;
        let table = self.snapshot.version.table(&target.object).ok_or_else(missing)?;
        let (action, command) = match target.command {
            RowCommand::Update => (Action::Update, &governance.update),
            RowCommand::Delete => (Action::Delete, &governance.delete),
            RowCommand::Select | RowCommand::Insert => {
                return Err(Refusal::new(Code::Internal, "a target of a command that changes no rows"));
            }
        };
        if !governance.allows(action) {
            return Err(Refusal::new(
                Code::PermissionDenied,
                format!("permission denied for table {}", table.name().name()),
            ));
        }
        let mut filters = vec![command];
        if target.reads {
            self.must_select(&target.object, governance)?;
            filters.push(&governance.select);
        }
        self.govern(stored(table, governance).with_row_ids(), &filters)
    }

    /// Puts the barrier for all of the filters over a raw table.
    fn govern(&self, raw: RawTable, filters: &[&RowFilter]) -> Result<Arc<dyn TableSource>> {
        let mut expressions: Vec<&ast::Expr> = Vec::new();
        let mut nothing = false;
        for filter in filters {
            match filter {
                RowFilter::Unrestricted => {}
                RowFilter::Nothing => nothing = true,
                RowFilter::Filtered(filtered) => expressions.extend(&filtered.using),
            }
        }
        if !nothing && expressions.is_empty() {
            return Ok(Arc::new(raw.stamped(self.stamp, Protection::Unrestricted)));
        }
        let raw = Arc::new(raw.stamped(self.stamp, Protection::Barrier));
        let object = raw.object().clone();
        let name = TableReference::partial(object.schema(), object.name());
        let scan = LogicalPlanBuilder::scan(name, Arc::clone(&raw) as Arc<dyn TableSource>, None)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| plan_refusal(&error))?;
        let predicate = if nothing { lit(false) } else { self.policy_predicate(&expressions, &scan, &object)? };
        let number = self.predicates.borrow().len();
        self.predicates.borrow_mut().push(predicate.clone());
        let plan = Barrier::new(self.stamp, number, object, predicate, scan).into_plan();
        Ok(Arc::new(GovernedTable::new(raw, plan)))
    }

    fn policy_predicate(&self, expressions: &[&ast::Expr], scan: &LogicalPlan, object: &ObjectName) -> Result<Expr> {
        let bound = expressions
            .iter()
            .map(|expr| self.expression(expr, scan.schema(), Vec::new()))
            .collect::<Result<Vec<Expr>, DataFusionError>>()
            .map_err(|error| misfit(object, &error))?;
        conjunction(bound).ok_or_else(|| Refusal::new(Code::Internal, "a row policy without an expression"))
    }

    fn view(&self, view: &View) -> Result<Arc<dyn TableSource>> {
        let depth = self.view_depth.get();
        if depth >= VIEW_DEPTH_MAX {
            return Err(Refusal::new(Code::StatementTooComplex, "views are nested too deeply"));
        }
        let parsed = weir_sql::parse(&view.sql)?;
        let query = match parsed.as_slice() {
            [statement] if matches!(statement.kind(), Kind::Query) => match statement.tree() {
                ast::Statement::Query(query) => query.clone(),
                _ => return Err(damaged_view(view)),
            },
            _ => return Err(damaged_view(view)),
        };
        self.view_depth.set(depth + 1);
        let (query, _) = crate::dialect::prepare(&query);
        let plan = self.query(&query, Vec::new());
        self.view_depth.set(depth);
        let plan = plan.map_err(|error| plan_refusal(&error))?;
        Ok(Arc::new(ViewSource::new(self.named(plan, view)?)))
    }

    /// Gives a view's query the names and types its columns had when it was made.
    fn named(&self, plan: LogicalPlan, view: &View) -> Result<LogicalPlan> {
        let schema = Arc::clone(plan.schema());
        // The types it will have may be settled only by the analysis, of the whole statement; here they are tried.
        let fits = fits(&schema, view) || {
            let settled = Analyzer::with_rules(settling()).execute_and_check(plan.clone(), self.options, |_, _| {});
            fits(settled.map_err(|error| plan_refusal(&error))?.schema(), view)
        };
        if !fits {
            return Err(Refusal::new(
                Code::WrongObjectType,
                format!("view \"{}\" no longer fits the tables it reads", view.name.name()),
            )
            .hint("drop the view and create it again"));
        }
        let columns =
            schema.columns().into_iter().zip(&view.columns).map(|(column, (name, _))| Expr::Column(column).alias(name));
        LogicalPlanBuilder::from(plan)
            .project(columns)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| plan_refusal(&error))
    }
}

fn fits(schema: &DFSchema, view: &View) -> bool {
    schema.fields().len() == view.columns.len()
        && schema.fields().iter().zip(&view.columns).all(|(field, (_, kept))| scalar_type(field) == *kept)
}

fn stored(table: &TableVersion, governance: &ObjectGovernance) -> RawTable {
    let schema = table.schema();
    RawTable::new(table.name().clone(), plan_schema(schema.arrow()), Rows::Stored, crate::governed::Stamp::fresh())
        .with_key(schema.primary_key())
        .with_oid(table.oid())
        .with_masks(Arc::clone(&governance.masks))
}

/// A row policy that does not fit its table: nothing may be read until the policy is mended.
fn misfit(object: &ObjectName, error: &DataFusionError) -> Refusal {
    let why = plan_refusal(error);
    tracing::error!(table = %object, error = %why, "a row policy does not fit its table");
    Refusal::new(
        Code::PermissionDenied,
        format!("the row policy of table \"{}\" does not fit the table", object.name()),
    )
    .detail("the table cannot be read until the policy is mended")
    .hint("ask an administrator to run `weir policy check`")
}

fn damaged_view(view: &View) -> Refusal {
    Refusal::new(Code::DataCorrupted, format!("the definition of view \"{}\" cannot be read", view.name.name()))
}
