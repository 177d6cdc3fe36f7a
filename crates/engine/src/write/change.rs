//! UPDATE and DELETE: a governed query for row ids and new values, then the rows themselves.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{DataType, UInt64Type},
};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use weir_model::{Action, Code, ColumnType, ObjectName, Refusal, Result, ValueType};
use weir_policy::RowCommand;
use weir_sql::{Statement, ast};
use weir_store::{RowId, TableSchema, TableVersion, Transaction};

use super::{
    assemble, check_assignable, go_on,
    insert::{is_default, is_untyped, parameter_number, place_of},
    unchanged,
};
use crate::{
    bind::Bindings,
    binder::{TARGET, Target, parameter_type, undefined_table},
    coerce::{self, Context},
    constant::Constant,
    dialect,
    error::memory_exceeded,
    governance::{Control, Snapshot},
    governed::ROW_ID,
    naming::OutputNames,
    plan::{Planned, Planning, Query, Template, Work},
    row_check::{Part, RowCheck},
    session::EngineSession,
    tree,
};

pub(crate) struct Change {
    object: ObjectName,
    schema: Arc<TableSchema>,
    query: Query,
    /// None for DELETE.
    update: Option<Update>,
}

struct Update {
    /// For each assignment the column, by its place in the table, and its new value.
    assignments: Vec<(usize, NewValue)>,
    check: RowCheck,
}

enum NewValue {
    /// This output of the query; the first is the row id.
    Output(usize),
    Default(Option<Constant>),
}

/// Rows given to the transaction at once.
const ROWS_AT_ONCE: usize = 8192;

impl Change {
    pub(crate) fn query(&self) -> &Query {
        &self.query
    }

    pub(crate) fn object(&self) -> &ObjectName {
        &self.object
    }

    pub(crate) fn verb(&self) -> &'static str {
        if self.update.is_some() { "Update" } else { "Delete" }
    }

    pub(crate) async fn run(
        &self,
        session: &EngineSession,
        planned: &Planned,
        snapshot: &Snapshot,
        bindings: &Bindings,
        transaction: &mut Transaction,
        control: Control,
    ) -> Result<u64> {
        unchanged(transaction, &self.object, &self.schema)?;
        let Some(table) = snapshot.version.table(&self.object) else {
            return Err(undefined_table(self.object.name()));
        };
        // All of the query is read before the first row changes: it must not see its own effects.
        let mut rows = session.masked(planned, snapshot, bindings, control.clone())?;
        let reservation = held(session);
        let mut batches = Vec::new();
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            reservation.try_grow(batch.get_array_memory_size()).map_err(|_| memory_exceeded())?;
            batches.push(batch);
        }
        let ids = batches.iter().map(row_ids).collect::<Result<Vec<Vec<RowId>>>>()?;
        match &self.update {
            None => self.delete(&ids, transaction, &control),
            Some(update) => {
                let new = batches
                    .iter()
                    .zip(&ids)
                    .map(|(batch, ids)| {
                        go_on(&control)?;
                        let new = update.rows(&self.schema, table, batch, ids, bindings)?;
                        reservation.try_grow(new.get_array_memory_size()).map_err(|_| memory_exceeded())?;
                        Ok(new)
                    })
                    .collect::<Result<Vec<RecordBatch>>>()?;
                // Old rows go before new ones come, so that keys may change places.
                let changed = self.delete(&ids, transaction, &control)?;
                for batch in new {
                    go_on(&control)?;
                    transaction.insert(&self.object, batch)?;
                }
                Ok(changed)
            }
        }
    }

    fn delete(&self, ids: &[Vec<RowId>], transaction: &mut Transaction, control: &Control) -> Result<u64> {
        let mut deleted = 0;
        for chunk in ids.iter().flat_map(|ids| ids.chunks(ROWS_AT_ONCE)) {
            go_on(control)?;
            deleted += transaction.delete(&self.object, chunk)?;
        }
        Ok(deleted)
    }
}

impl Update {
    /// The new rows: what is not assigned stays as it is stored, masked to the reader or not.
    fn rows(
        &self,
        schema: &TableSchema,
        table: &TableVersion,
        batch: &RecordBatch,
        ids: &[RowId],
        bindings: &Bindings,
    ) -> Result<RecordBatch> {
        let all: Vec<usize> = (0..schema.columns().len()).collect();
        let old = table.take(ids, &all)?;
        let mut columns = old.columns().to_vec();
        for (place, value) in &self.assignments {
            let Some(column) = schema.columns().get(*place) else {
                return Err(Refusal::new(Code::Internal, "an assignment to no column"));
            };
            let array: ArrayRef = match value {
                NewValue::Output(output) => match batch.columns().get(*output) {
                    Some(array) => Arc::clone(array),
                    None => return Err(Refusal::new(Code::Internal, "an assignment without a value")),
                },
                NewValue::Default(Some(default)) => default.evaluate(bindings, ids.len())?,
                NewValue::Default(None) => arrow::array::new_null_array(&DataType::Null, ids.len()),
            };
            let array = coerce::to_type(&array, column.column_type, Context::Column(&column.name), bindings.zone())?;
            if let Some(old) = columns.get_mut(*place) {
                *old = array;
            }
        }
        let new = assemble(schema, columns, ids.len())?;
        self.check.check(&new)?;
        Ok(new)
    }
}

/// Memory for what a change holds until it is applied.
fn held(session: &EngineSession) -> MemoryReservation {
    let pool: Arc<dyn MemoryPool> = session.engine().statement_pool();
    MemoryConsumer::new("changed rows").register(&pool)
}

fn row_ids(batch: &RecordBatch) -> Result<Vec<RowId>> {
    let lost = || Refusal::new(Code::Internal, "a change lost its row ids");
    let column = batch.columns().first().filter(|column| *column.data_type() == DataType::UInt64).ok_or_else(lost)?;
    let ids = column.as_primitive::<UInt64Type>();
    if ids.null_count() > 0 {
        return Err(lost());
    }
    Ok(ids.values().iter().map(|id| RowId(*id)).collect())
}

impl Planning<'_> {
    pub(crate) fn update(
        &self,
        update: &ast::Update,
        statement: &Statement,
        mut types: Vec<Option<ValueType>>,
    ) -> Result<Planned> {
        let (name, alias) = target_of(&update.table)?;
        let (object, schema) = self.writable(name, Action::Update)?;
        let binder = self.binder();
        let mut outputs = Vec::new();
        let mut assignments: Vec<(usize, NewValue)> = Vec::new();
        for assignment in &update.assignments {
            let place = assigned(&assignment.target, &schema)?;
            if assignments.iter().any(|(known, _)| *known == place) {
                let name = schema.columns().get(place).map_or("", |column| column.name.as_str());
                return Err(Refusal::new(Code::SyntaxError, format!("multiple assignments to same column \"{name}\"")));
            }
            let column = schema.columns().get(place);
            let value = match &assignment.value {
                ast::Expr::Identifier(ident) if is_default(ident) => {
                    let text = column.and_then(|column| column.default.as_ref());
                    NewValue::Default(text.map(|text| Constant::default(&binder, text)).transpose()?)
                }
                expr => {
                    bare_parameter(expr, column.map(|column| column.column_type), &mut types);
                    outputs.push((place, expr.clone()));
                    NewValue::Output(outputs.len())
                }
            };
            assignments.push((place, value));
        }
        let reads = reads_target(statement, &object, self);
        let target = Target { object: object.clone(), command: RowCommand::Update, reads };
        let expressions = outputs.iter().map(|(_, expr)| expr.clone()).collect();
        let (template, bound_types) =
            self.change(target, alias, expressions, update.selection.clone(), types, |plan| {
                for (index, (place, _)) in outputs.iter().enumerate() {
                    let column = schema.columns().get(*place);
                    if let (Some(column), Some(field)) = (column, plan.schema().fields().get(index + 1)) {
                        check_assignable(field.data_type(), !is_untyped(plan, index + 1), column)?;
                    }
                }
                Ok(())
            })?;
        let governance = self.governance.objects.get(&object).ok_or_else(|| undefined_table(object.name()))?;
        let mut parts = vec![Part::Check(&governance.update)];
        if reads {
            parts.push(Part::Using(&governance.select));
        }
        let check = RowCheck::bind(&binder, &object, schema.arrow(), &parts)?;
        let update = Some(Update { assignments, check });
        Ok(self.changed(template, bound_types, Change0 { object, schema, update }))
    }

    pub(crate) fn delete(
        &self,
        delete: &ast::Delete,
        statement: &Statement,
        types: Vec<Option<ValueType>>,
    ) -> Result<Planned> {
        let (ast::FromTable::WithFromKeyword(tables) | ast::FromTable::WithoutKeyword(tables)) = &delete.from;
        let [table] = tables.as_slice() else { return Err(Refusal::unsupported("DELETE from several tables")) };
        let (name, alias) = target_of(table)?;
        let (object, schema) = self.writable(name, Action::Delete)?;
        let reads = reads_target(statement, &object, self);
        let target = Target { object: object.clone(), command: RowCommand::Delete, reads };
        let (template, types) = self.change(target, alias, Vec::new(), delete.selection.clone(), types, |_| Ok(()))?;
        Ok(self.changed(template, types, Change0 { object, schema, update: None }))
    }

    /// Plans `SELECT row id, values FROM target WHERE selection`.
    fn change(
        &self,
        target: Target,
        alias: ast::Ident,
        values: Vec<ast::Expr>,
        selection: Option<ast::Expr>,
        types: Vec<Option<ValueType>>,
        check: impl FnOnce(&datafusion::logical_expr::LogicalPlan) -> Result<()>,
    ) -> Result<(crate::plan::Finished, Vec<ValueType>)> {
        let binder = self.binder().with_target(target);
        let row_id = ast::Expr::CompoundIdentifier(vec![alias.clone(), ast::Ident::with_quote('"', ROW_ID)]);
        let mut projection = vec![ast::SelectItem::UnnamedExpr(row_id)];
        projection.extend(values.into_iter().enumerate().map(|(index, expr)| ast::SelectItem::ExprWithAlias {
            expr,
            alias: ast::Ident::with_quote('"', format!("__weir_value{index}")),
        }));
        let name = ast::ObjectName(vec![ast::ObjectNamePart::Identifier(ast::Ident::with_quote('"', TARGET))]);
        let query = tree::select(projection, tree::table(name, Some(alias)), selection);
        let (query, _) = dialect::prepare(&query);
        let bound = self.bind(&binder, &query, types)?;
        check(&bound.plan)?;
        let finished = self.finish(&binder, bound.plan, &OutputNames::default())?;
        Ok((finished, bound.parameters))
    }

    fn changed(&self, finished: crate::plan::Finished, parameters: Vec<ValueType>, change: Change0) -> Planned {
        let Change0 { object, schema, update } = change;
        Planned::new(Template {
            work: Work::Change(Change { object, schema, query: finished.query, update }),
            columns: None,
            schema: finished.schema,
            parameters,
            masks: finished.masks,
            key: self.governance.mask_key.clone(),
            values: finished.values,
            estimate: finished.estimate,
            reusable: true,
            canonical: std::sync::OnceLock::new(),
        })
    }
}

/// A change before its query is known.
struct Change0 {
    object: ObjectName,
    schema: Arc<TableSchema>,
    update: Option<Update>,
}

/// The target's name and what its columns are qualified with.
fn target_of(table: &ast::TableWithJoins) -> Result<(&ast::ObjectName, ast::Ident)> {
    let ast::TableFactor::Table { name, alias, .. } = &table.relation else {
        return Err(Refusal::unsupported("a write to anything but one table"));
    };
    let own = name.0.last().and_then(|part| part.as_ident()).cloned();
    match alias.as_ref().map(|alias| alias.name.clone()).or(own) {
        Some(alias) => Ok((name, alias)),
        None => Err(Refusal::unsupported("a name computed by a function")),
    }
}

fn assigned(target: &ast::AssignmentTarget, schema: &TableSchema) -> Result<usize> {
    match target {
        ast::AssignmentTarget::ColumnName(name) => match name.0.as_slice() {
            [part] => match part.as_ident() {
                Some(ident) => {
                    place_of(&weir_model::fold_identifier(&ident.value, ident.quote_style.is_some()), schema)
                }
                None => Err(Refusal::unsupported("a name computed by a function")),
            },
            _ => Err(Refusal::new(Code::SyntaxError, "the column assigned to is named without its table")
                .hint("write SET column = …")),
        },
        ast::AssignmentTarget::Tuple(_) => Err(Refusal::unsupported("SET (column, …) = …")),
    }
}

fn bare_parameter(expr: &ast::Expr, column: Option<ColumnType>, types: &mut [Option<ValueType>]) {
    let ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(id), .. }) = expr else { return };
    let known = parameter_number(id).and_then(|number| types.get_mut(number - 1));
    if let (Some(known), Some(column)) = (known, column) {
        known.get_or_insert(parameter_type(column).into());
    }
}

/// Whether the statement reads the target's columns, so that its SELECT policies hold as well.
fn reads_target(statement: &Statement, object: &ObjectName, planning: &Planning<'_>) -> bool {
    let known = |name: &ObjectName| planning.governance.objects.contains_key(name);
    statement.uses().iter().any(|used| {
        used.action == Action::Select
            && used.name.resolve(&planning.snapshot.search_path, known).is_ok_and(|name| name == *object)
    })
}
