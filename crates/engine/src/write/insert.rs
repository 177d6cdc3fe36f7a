//! INSERT: values without a plan where they are plain, a governed query otherwise.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringViewArray, new_null_array};
use datafusion::{
    common::ScalarValue,
    logical_expr::{Expr, LogicalPlan},
};
use weir_model::{Action, Code, ColumnType, ObjectName, Refusal, Result, ValueType};
use weir_sql::{ast, raw_name};
use weir_store::{Column, TableSchema, Transaction, arrow_type};

use super::{assemble, check_assignable, go_on, unchanged};
use crate::{
    bind::Bindings,
    binder::{Binder, infer_from_casts, parameter_type, undefined_table},
    coerce::{self, Context},
    constant::Constant,
    dialect,
    error::{Values, plan_refusal},
    governance::{Control, Snapshot},
    plan::{Estimate, Planned, Planning, Query, Template, Work},
    row_check::{Part, RowCheck},
    session::EngineSession,
};

/// Rows that one INSERT … VALUES gives the transaction at a time.
const ROWS_AT_ONCE: usize = 8192;

pub(crate) struct Insert {
    object: ObjectName,
    schema: Arc<TableSchema>,
    source: Source,
    /// For each column of the table, where its values come from.
    columns: Vec<From>,
    check: RowCheck,
}

enum Source {
    Values(Vec<Vec<Cell>>),
    Query(Box<Query>),
}

/// A value as written.
#[derive(Debug, Clone)]
enum Cell {
    Null,
    Text(String),
    Number(String),
    Boolean(bool),
    /// One-based.
    Parameter(usize),
    Default,
    Constant(Constant),
}

#[derive(Debug)]
enum From {
    /// This place of the source's rows.
    Source(usize),
    Default(Constant),
    Null,
}

impl Insert {
    pub(crate) fn object(&self) -> &ObjectName {
        &self.object
    }

    pub(crate) fn query(&self) -> Option<&Query> {
        match &self.source {
            Source::Values(_) => None,
            Source::Query(query) => Some(query),
        }
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
        let mut written = 0;
        match &self.source {
            Source::Values(rows) => {
                for chunk in rows.chunks(ROWS_AT_ONCE) {
                    go_on(&control)?;
                    let source = self.values(chunk, bindings)?;
                    self.put(source, chunk.len(), bindings, transaction)?;
                    written += chunk.len() as u64;
                }
            }
            Source::Query(_) => {
                let mut rows = session.masked(planned, snapshot, bindings, control)?;
                while let Some(batch) = rows.next().await {
                    let batch = batch?;
                    self.put(batch.columns().to_vec(), batch.num_rows(), bindings, transaction)?;
                    written += batch.num_rows() as u64;
                }
            }
        }
        Ok(written)
    }

    /// Casts, fills in, checks, and gives the rows to the transaction.
    fn put(
        &self,
        source: Vec<ArrayRef>,
        rows: usize,
        bindings: &Bindings,
        transaction: &mut Transaction,
    ) -> Result<()> {
        let batch = complete(&self.schema, &self.columns, &source, rows, bindings)?;
        self.check.check(&batch)?;
        transaction.insert(&self.object, batch)
    }

    /// The values as written, column by column.
    fn values(&self, rows: &[Vec<Cell>], bindings: &Bindings) -> Result<Vec<ArrayRef>> {
        let width = rows.first().map_or(0, Vec::len);
        (0..width)
            .map(|place| {
                let target = self.columns.iter().zip(self.schema.columns()).find_map(|(from, column)| match from {
                    From::Source(index) if *index == place => Some(column),
                    _ => None,
                });
                let Some(column) = target else {
                    return Err(Refusal::new(Code::Internal, "a value without a column"));
                };
                let cells: Vec<&Cell> = rows.iter().filter_map(|row| row.get(place)).collect();
                column_of(&cells, column, bindings)
            })
            .collect()
    }
}

/// The table's columns from the source's.
fn complete(
    schema: &TableSchema,
    columns: &[From],
    source: &[ArrayRef],
    rows: usize,
    bindings: &Bindings,
) -> Result<arrow::array::RecordBatch> {
    let arrays = columns
        .iter()
        .zip(schema.columns())
        .map(|(from, column)| match from {
            From::Source(place) => match source.get(*place) {
                Some(array) => {
                    coerce::to_type(array, column.column_type, Context::Column(&column.name), bindings.zone())
                }
                None => Err(Refusal::new(Code::Internal, "a source without a column")),
            },
            From::Default(default) => {
                let array = default.evaluate(bindings, rows)?;
                coerce::to_type(&array, column.column_type, Context::Column(&column.name), bindings.zone())
            }
            From::Null => Ok(new_null_array(&arrow_type(column.column_type), rows)),
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    assemble(schema, arrays, rows)
}

/// One column of values. Literals are read all at once; what is mixed is read one by one.
fn column_of(cells: &[&Cell], column: &Column, bindings: &Bindings) -> Result<ArrayRef> {
    let literal = |cell: &&Cell| matches!(cell, Cell::Null | Cell::Text(_));
    let context = Context::Column(&column.name);
    if cells.iter().all(literal) {
        let texts: StringViewArray = cells
            .iter()
            .map(|cell| match cell {
                Cell::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        return coerce::to_type(&(Arc::new(texts) as ArrayRef), column.column_type, context, bindings.zone());
    }
    let own = cells.iter().map(|cell| one(cell, column, bindings)).collect::<Result<Vec<ArrayRef>>>()?;
    let arrays: Vec<&dyn Array> = own.iter().map(AsRef::as_ref).collect();
    arrow::compute::concat(&arrays).map_err(|error| crate::error::arrow_refusal(&error, Values::Shown))
}

/// One value, cast to its column's type.
fn one(cell: &Cell, column: &Column, bindings: &Bindings) -> Result<ArrayRef> {
    let scalar = match cell {
        Cell::Null => ScalarValue::Null,
        Cell::Text(text) => ScalarValue::Utf8View(Some(text.clone())),
        Cell::Boolean(flag) => ScalarValue::Boolean(Some(*flag)),
        Cell::Number(digits) => number(digits, column)?,
        Cell::Parameter(index) => bindings.value(&format!("${index}"))?,
        Cell::Default => match &column.default {
            Some(_) => return Err(Refusal::new(Code::Internal, "a default was not planned")),
            None => ScalarValue::Null,
        },
        Cell::Constant(constant) => {
            let array = constant.evaluate(bindings, 1)?;
            return coerce::to_type(&array, column.column_type, Context::Column(&column.name), bindings.zone());
        }
    };
    let array = scalar.to_array().map_err(|error| plan_refusal(&error))?;
    coerce::to_type(&array, column.column_type, Context::Column(&column.name), bindings.zone())
}

/// A number as written, in the form nearest to its column's type.
fn number(digits: &str, column: &Column) -> Result<ScalarValue> {
    if let Ok(integer) = digits.parse::<i64>() {
        return Ok(ScalarValue::Int64(Some(integer)));
    }
    let text = || ScalarValue::Utf8View(Some(digits.to_owned()));
    match column.column_type {
        // Text is read digit by digit: nothing is lost on the way through a float.
        ColumnType::Numeric { .. } | ColumnType::Real | ColumnType::Double => Ok(text()),
        column_type if column_type.is_textual() => Ok(text()),
        ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt => match digits.parse::<f64>() {
            // As numeric rounds: half away from zero.
            Ok(value) => Ok(ScalarValue::Float64(Some(value.round()))),
            Err(_) => Ok(text()),
        },
        _ => {
            let numeric = arrow::datatypes::DataType::Decimal128(38, 10);
            check_assignable(&numeric, true, column)?;
            Ok(text())
        }
    }
}

impl Planning<'_> {
    pub(crate) fn insert(&self, insert: &ast::Insert, types: Vec<Option<ValueType>>) -> Result<Planned> {
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(Refusal::unsupported("INSERT INTO anything but a table"));
        };
        let (object, schema) = self.writable(name, Action::Insert)?;
        let binder = self.binder();
        let named = named_columns(&insert.columns, &schema)?;
        let defaults = insert.source.is_none();
        let columns = if defaults { Vec::new() } else { named };
        let (source, width, parameters, masks, values, estimate) = match &insert.source {
            None => (Source::Values(vec![Vec::new()]), 0, Vec::new(), None, Values::Shown, Estimate::default()),
            Some(query) => self.insert_source(&binder, query, &schema, &columns, types)?,
        };
        let places = columns
            .get(..width)
            .ok_or_else(|| Refusal::new(Code::SyntaxError, "INSERT has more expressions than target columns"))?;
        if !insert.columns.is_empty() && width < columns.len() {
            return Err(Refusal::new(Code::SyntaxError, "INSERT has more target columns than expressions"));
        }
        let from = schema
            .columns()
            .iter()
            .enumerate()
            .map(|(index, column)| match (places.iter().position(|place| *place == index), &column.default) {
                (Some(place), _) => Ok(From::Source(place)),
                (None, Some(text)) => Constant::default(&binder, text).map(From::Default),
                (None, None) => Ok(From::Null),
            })
            .collect::<Result<Vec<From>>>()?;
        let check = self.insert_check(&binder, &object, &schema)?;
        let work = Work::Insert(Insert { object, schema, source, columns: from, check });
        Ok(Planned::new(Template {
            work,
            columns: None,
            schema: Arc::new(arrow::datatypes::Schema::empty()),
            parameters,
            masks: masks.unwrap_or_default(),
            key: self.governance.mask_key.clone(),
            values,
            estimate,
            reusable: true,
            canonical: std::sync::OnceLock::new(),
        }))
    }

    pub(crate) fn insert_check(
        &self,
        binder: &Binder<'_>,
        object: &ObjectName,
        schema: &Arc<TableSchema>,
    ) -> Result<RowCheck> {
        let Some(governance) = self.governance.objects.get(object) else {
            return Err(undefined_table(object.name()));
        };
        RowCheck::bind(binder, object, schema.arrow(), &[Part::Check(&governance.insert)])
    }

    /// The stored table that a statement may write to.
    pub(crate) fn writable(&self, name: &ast::ObjectName, action: Action) -> Result<(ObjectName, Arc<TableSchema>)> {
        let raw = raw_name(name)?;
        let known = |object: &ObjectName| self.governance.objects.contains_key(object);
        let object = raw.resolve(&self.snapshot.search_path, known)?;
        let missing = || undefined_table(&raw.to_string());
        let governance = self.governance.objects.get(&object).ok_or_else(missing)?;
        if self.snapshot.version.view(&object).is_some() || self.snapshot.virtuals.schema(&object).is_some() {
            return Err(Refusal::new(
                Code::WrongObjectType,
                format!("\"{}\" is not a table that takes rows", object.name()),
            ));
        }
        let table = self.snapshot.version.table(&object).ok_or_else(missing)?;
        if !governance.allows(action) {
            return Err(Refusal::new(Code::PermissionDenied, format!("permission denied for table {}", object.name())));
        }
        Ok((object, Arc::clone(table.schema())))
    }

    #[allow(clippy::type_complexity, reason = "the parts go straight into one template")]
    fn insert_source(
        &self,
        binder: &Binder<'_>,
        query: &ast::Query,
        schema: &TableSchema,
        columns: &[usize],
        types: Vec<Option<ValueType>>,
    ) -> Result<(Source, usize, Vec<ValueType>, Option<crate::mask::MaskPlan>, Values, Estimate)> {
        let mut types = types;
        if let Some(rows) = plain_values(query) {
            types = value_types(rows, schema, columns, types);
            infer_from_casts(query, &mut types);
            if let Some(cells) = self.cells(binder, rows, schema, columns, &types)? {
                let width = cells.first().map_or(0, Vec::len);
                let parameters = types.into_iter().map(|known| known.unwrap_or(ValueType::TEXT)).collect();
                return Ok((Source::Values(cells), width, parameters, None, Values::Shown, Estimate::default()));
            }
        }
        let (query, names) = dialect::prepare(query);
        let bound = self.bind(binder, &query, types)?;
        let width = bound.plan.schema().fields().len();
        for (index, place) in columns.iter().take(width).enumerate() {
            if let (Some(column), Some(field)) = (schema.columns().get(*place), bound.plan.schema().fields().get(index))
            {
                check_assignable(field.data_type(), !is_untyped(&bound.plan, index), column)?;
            }
        }
        let finished = self.finish(binder, bound.plan, &names)?;
        let source = Source::Query(Box::new(finished.query));
        Ok((source, width, bound.parameters, Some(finished.masks), finished.values, finished.estimate))
    }

    /// The rows of VALUES as cells; None where a cell needs a query.
    fn cells(
        &self,
        binder: &Binder<'_>,
        rows: &[ast::Parens<Vec<ast::Expr>>],
        schema: &TableSchema,
        columns: &[usize],
        types: &[Option<ValueType>],
    ) -> Result<Option<Vec<Vec<Cell>>>> {
        let width = rows.first().map_or(0, |row| row.content.len());
        let mut cells = Vec::with_capacity(rows.len());
        for row in rows {
            if row.content.len() != width {
                return Err(Refusal::new(Code::SyntaxError, "VALUES lists must all be the same length"));
            }
            if width > columns.len() {
                return Err(Refusal::new(Code::SyntaxError, "INSERT has more expressions than target columns"));
            }
            let mut converted = Vec::with_capacity(width);
            for (expr, place) in row.content.iter().zip(columns) {
                let Some(column) = schema.columns().get(*place) else {
                    return Err(Refusal::new(Code::Internal, "a value for no column"));
                };
                match self.cell(binder, expr, column, types)? {
                    Some(cell) => converted.push(cell),
                    None => return Ok(None),
                }
            }
            cells.push(converted);
        }
        Ok(Some(cells))
    }

    fn cell(
        &self,
        binder: &Binder<'_>,
        expr: &ast::Expr,
        column: &Column,
        types: &[Option<ValueType>],
    ) -> Result<Option<Cell>> {
        Ok(Some(match expr {
            ast::Expr::Value(value) => match &value.value {
                ast::Value::Null => Cell::Null,
                ast::Value::Boolean(flag) => {
                    check_assignable(&arrow::datatypes::DataType::Boolean, true, column)?;
                    Cell::Boolean(*flag)
                }
                ast::Value::Number(digits, _) => Cell::Number(digits.clone()),
                ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text) => {
                    Cell::Text(text.clone())
                }
                ast::Value::DollarQuotedString(text) => Cell::Text(text.value.clone()),
                ast::Value::Placeholder(id) => match parameter_number(id) {
                    Some(number) => Cell::Parameter(number),
                    None => return Ok(None),
                },
                _ => return Ok(None),
            },
            ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr: inner } => match inner.as_ref() {
                ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Number(digits, _), .. }) => {
                    Cell::Number(format!("-{digits}"))
                }
                _ => return self.constant(binder, expr, column, types),
            },
            ast::Expr::Identifier(ident) if is_default(ident) => match &column.default {
                Some(text) => Cell::Constant(Constant::default(binder, text)?),
                None => Cell::Default,
            },
            _ => return self.constant(binder, expr, column, types),
        }))
    }

    fn constant(
        &self,
        binder: &Binder<'_>,
        expr: &ast::Expr,
        column: &Column,
        types: &[Option<ValueType>],
    ) -> Result<Option<Cell>> {
        let _ = column;
        match Constant::bind(binder, expr, types) {
            Ok(constant) => Ok(Some(Cell::Constant(constant))),
            Err(refusal) if refusal.code() == Code::Unsupported => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }
}

pub(crate) fn is_default(ident: &ast::Ident) -> bool {
    ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default")
}

pub(crate) fn parameter_number(id: &str) -> Option<usize> {
    id.strip_prefix('$')?.parse().ok().filter(|number| *number > 0)
}

/// The rows of a query that is nothing but VALUES.
fn plain_values(query: &ast::Query) -> Option<&[ast::Parens<Vec<ast::Expr>>]> {
    let plain =
        query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    match query.body.as_ref() {
        ast::SetExpr::Values(values) if plain => Some(&values.rows),
        _ => None,
    }
}

/// A bare parameter takes its column's type, as far as the type is not the column's own (lengths, digits).
fn value_types(
    rows: &[ast::Parens<Vec<ast::Expr>>],
    schema: &TableSchema,
    columns: &[usize],
    mut types: Vec<Option<ValueType>>,
) -> Vec<Option<ValueType>> {
    for row in rows {
        for (expr, place) in row.content.iter().zip(columns) {
            let ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(id), .. }) = expr else {
                continue;
            };
            let column = schema.columns().get(*place);
            if let (Some(number), Some(column)) = (parameter_number(id), column)
                && let Some(known) = types.get_mut(number - 1)
            {
                known.get_or_insert(parameter_type(column.column_type).into());
            }
        }
    }
    types
}

/// Places of the columns named, or of all.
pub(super) fn named_columns(names: &[ast::ObjectName], schema: &TableSchema) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..schema.columns().len()).collect());
    }
    let mut places = Vec::with_capacity(names.len());
    for name in names {
        let raw = raw_name(name)?;
        let place = place_of(&raw.name, schema)?;
        if places.contains(&place) {
            return Err(Refusal::new(
                Code::DuplicateColumn,
                format!("column \"{}\" specified more than once", raw.name),
            ));
        }
        places.push(place);
    }
    Ok(places)
}

pub(super) fn place_of(name: &str, schema: &TableSchema) -> Result<usize> {
    schema.column_index(name).ok_or_else(|| {
        let known: Vec<&str> = schema.columns().iter().map(|column| column.name.as_str()).take(12).collect();
        Refusal::new(Code::UndefinedColumn, format!("column \"{name}\" of the table does not exist"))
            .hint(format!("columns here: {}", known.join(", ")))
    })
}

/// Whether an output is a literal, a parameter or a list of them, which have no type of their own.
pub(super) fn is_untyped(plan: &LogicalPlan, index: usize) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => match projection.expr.get(index).map(|expr| expr.clone().unalias()) {
            Some(Expr::Literal(..) | Expr::Placeholder(_)) => true,
            Some(Expr::Column(column)) => projection
                .input
                .schema()
                .index_of_column(&column)
                .is_ok_and(|index| is_untyped(&projection.input, index)),
            _ => false,
        },
        LogicalPlan::Values(_) => true,
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| is_untyped(input, index)),
        LogicalPlan::SubqueryAlias(alias) => is_untyped(&alias.input, index),
        LogicalPlan::Sort(sort) => is_untyped(&sort.input, index),
        LogicalPlan::Limit(limit) => is_untyped(&limit.input, index),
        _ => false,
    }
}
