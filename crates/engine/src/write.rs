//! Writes: every one is a governed query, or values without one, and rows given to the transaction. Nothing is committed
//! here.

mod change;
mod copy;
mod insert;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::DataType,
};
use weir_model::{Code, ObjectName, Refusal, Result, Value};
use weir_store::{TableSchema, Transaction};

pub use self::copy::CopyTarget;
pub(crate) use self::{change::Change, insert::Insert};
use crate::{
    bind::Bindings,
    coerce::{self, Context},
    governance::{Control, Governance, Snapshot},
    plan::{Planned, Work},
    rows::{RowSource, next},
    run::{canceled, timed_out},
    session::EngineSession,
};

impl EngineSession {
    /// Runs INSERT, UPDATE or DELETE: rows go into the transaction. Says how many.
    ///
    /// # Errors
    /// What the statement's query, the casts to column types, WITH CHECK, NOT NULL and keys say. A refused statement may
    /// leave part of its rows in the transaction: the caller rolls it back.
    pub async fn write(
        &self,
        planned: &Planned,
        snapshot: &Snapshot,
        parameters: &[Value],
        transaction: &mut Transaction,
        _governance: &Governance,
        control: Control,
    ) -> Result<u64> {
        let bindings = self.bindings(planned, snapshot, parameters)?;
        match &planned.template().work {
            Work::Insert(insert) => insert.run(self, planned, snapshot, &bindings, transaction, control).await,
            Work::Change(change) => change.run(self, planned, snapshot, &bindings, transaction, control).await,
            Work::Query(_) | Work::Explain(_) => Err(Refusal::new(Code::Internal, "a query was executed as a write")),
        }
    }

    /// Runs CREATE TABLE AS: the query's rows, masked, go into a table that the transaction has just made.
    ///
    /// # Errors
    /// As [`EngineSession::write`].
    pub async fn write_rows(
        &self,
        planned: &Planned,
        snapshot: &Snapshot,
        parameters: &[Value],
        transaction: &mut Transaction,
        target: &ObjectName,
        control: Control,
    ) -> Result<u64> {
        let bindings = self.bindings(planned, snapshot, parameters)?;
        let schema = table_schema(transaction, target)?;
        let mut rows = self.masked(planned, snapshot, &bindings, control)?;
        let mut written = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            written += batch.num_rows() as u64;
            let columns = schema
                .columns()
                .iter()
                .zip(batch.columns())
                .map(|(column, array)| {
                    coerce::to_type(array, column.column_type, Context::Column(&column.name), bindings.zone())
                })
                .collect::<Result<Vec<ArrayRef>>>()?;
            transaction.insert(target, assemble(&schema, columns, batch.num_rows())?)?;
        }
        Ok(written)
    }

    /// The masked rows of a template's query, for a write.
    fn masked(&self, planned: &Planned, snapshot: &Snapshot, bindings: &Bindings, control: Control) -> Result<Rows> {
        let source = RowSource::Stream(self.run(planned, snapshot, bindings, control.clone())?);
        Ok(Rows { source, planned: planned.clone(), control })
    }
}

/// The rows of a write's own query: masked as they come, and stopped between batches too, since what follows a batch is
/// not part of the stream's race.
struct Rows {
    source: RowSource,
    planned: Planned,
    control: Control,
}

impl Rows {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if let Err(refusal) = go_on(&self.control) {
            return Some(Err(refusal));
        }
        let template = self.planned.template();
        let batch = next(&mut self.source).await?;
        Some(match batch {
            Ok(batch) if template.masks.is_empty() => Ok(batch),
            Ok(batch) => template.masks.apply(&batch, &template.key),
            Err(refusal) => Err(refusal),
        })
    }
}

/// Between two pieces of work.
fn go_on(control: &Control) -> Result<()> {
    if control.cancel.is_cancelled() {
        return Err(canceled());
    }
    if control.deadline.is_some_and(|deadline| std::time::Instant::now() >= deadline) {
        return Err(timed_out());
    }
    Ok(())
}

fn table_schema(transaction: &Transaction, table: &ObjectName) -> Result<Arc<TableSchema>> {
    match transaction.version().table(table) {
        Some(table) => Ok(Arc::clone(table.schema())),
        None => Err(crate::binder::undefined_table(table.name())),
    }
}

/// # Errors
/// `serialization_failure` when the table is not the one the statement was planned for.
fn unchanged(transaction: &Transaction, table: &ObjectName, planned: &Arc<TableSchema>) -> Result<()> {
    let now = table_schema(transaction, table)?;
    if Arc::ptr_eq(&now, planned) || now == *planned {
        return Ok(());
    }
    Err(Refusal::new(Code::SerializationFailure, "the table changed since the statement was planned")
        .hint("prepare the statement again"))
}

fn assemble(schema: &TableSchema, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    if columns.len() != schema.columns().len() {
        return Err(Refusal::new(Code::Internal, "a row has another number of columns than its table"));
    }
    // NULLs in NOT NULL columns are found here, before Arrow would refuse them without a name.
    for (column, array) in schema.columns().iter().zip(&columns) {
        if !column.nullable && array.null_count() > 0 {
            return Err(Refusal::new(
                Code::NotNullViolation,
                format!("null value in column \"{}\" violates not-null constraint", column.name),
            ));
        }
    }
    RecordBatch::try_new_with_options(Arc::clone(schema.arrow()), columns, &options)
        .map_err(|_| Refusal::new(Code::Internal, "rows do not have their table's types"))
}

/// PostgreSQL has no assignment cast from text to anything else; only a literal or a parameter has no type of its own.
fn check_assignable(source: &DataType, has_own_type: bool, column: &weir_store::Column) -> Result<()> {
    let own = weir_store::column_type_of(&arrow::datatypes::Field::new("", source.clone(), true));
    let (Some(own), false) = (own, source.is_null()) else { return Ok(()) };
    let fits = if own.is_textual() {
        !has_own_type || column.column_type.is_textual()
    } else {
        coerce::is_assignable(source, column.column_type)
    };
    if fits {
        return Ok(());
    }
    Err(Refusal::new(
        Code::DatatypeMismatch,
        format!("column \"{}\" is of type {} but expression is of type {own}", column.name, column.column_type),
    )
    .hint("you will need to rewrite or cast the expression"))
}
