//! DDL and TRUNCATE, inside the transaction like any other write.

use weir_engine::{Control, EngineSession};
use weir_model::{Action, Code, ColumnType, ObjectName, Refusal, Result, ValueType};
use weir_policy::RowFilter;
use weir_sql::{CreateTableAs, CreateView, DropKind, DropObjects, Kind, TableDefinition, ast};
use weir_store::{Column as StoredColumn, TableSchema, Transaction};

use crate::gates::{audit::Running, statement};

/// Applies the statement; returns the command tag and the rows written.
pub(crate) async fn apply(
    running: &Running,
    engine: &EngineSession,
    transaction: &mut Transaction,
    control: &Control,
    path: &[String],
) -> Result<(String, u64)> {
    match running.statement.kind() {
        Kind::CreateSchema(create) => {
            if !(create.if_not_exists && transaction.version().has_schema(&create.name)) {
                transaction.create_schema(&create.name)?;
            }
            Ok(("CREATE SCHEMA".into(), 0))
        }
        Kind::CreateTable(definition) => create_table(definition, running, engine, transaction),
        Kind::CreateTableAs(create) => create_table_as(create, running, engine, transaction, control).await,
        Kind::CreateView(create) => create_view(create, running, transaction, path),
        Kind::Drop(drop) => drop_objects(drop, running, transaction),
        Kind::Truncate => truncate(running, transaction),
        other => Err(Refusal::unsupported(format!("statement kind {}", other.label()))),
    }
}

fn create_table(
    definition: &TableDefinition,
    running: &Running,
    engine: &EngineSession,
    transaction: &mut Transaction,
) -> Result<(String, u64)> {
    let name = new_name(running, transaction)?;
    let tag = "CREATE TABLE".to_owned();
    if definition.if_not_exists && statement::exists(transaction.version(), &name) {
        return Ok((tag, 0));
    }
    let mut columns = Vec::with_capacity(definition.columns.len());
    for column in &definition.columns {
        if let Some(default) = &column.default {
            engine.check_default(&column.name, column.column_type, default, &running.snapshot, &running.governance)?;
        }
        columns.push(StoredColumn {
            name: column.name.clone(),
            column_type: column.column_type,
            nullable: column.nullable,
            default: column.default.as_ref().map(faithful_default).transpose()?,
        });
    }
    let position = |key: &String| columns.iter().position(|column| column.name == *key);
    let key = definition.primary_key.iter().filter_map(position).collect();
    transaction.create_table(&name, TableSchema::new(columns, key)?)?;
    Ok((tag, 0))
}

async fn create_table_as(
    create: &CreateTableAs,
    running: &Running,
    engine: &EngineSession,
    transaction: &mut Transaction,
    control: &Control,
) -> Result<(String, u64)> {
    let name = new_name(running, transaction)?;
    if create.if_not_exists && statement::exists(transaction.version(), &name) {
        return Ok(("CREATE TABLE AS".into(), 0));
    }
    let planned = running.planned.as_ref().ok_or_else(no_plan)?;
    let columns = named_columns(planned, &create.columns)?;
    let array = columns.iter().find(|(_, value_type)| value_type.scalar().is_none());
    if let Some((name, value_type)) = array {
        return Err(Refusal::unsupported(format!("column \"{name}\" of type {value_type}"))
            .hint("no column holds arrays; make a text of it, or a row of each element"));
    }
    let stored = columns
        .into_iter()
        .map(|(name, value_type)| StoredColumn { name, column_type: shown(value_type), nullable: true, default: None })
        .collect();
    let mut snapshot = running.snapshot.clone();
    snapshot.version = transaction.version().clone();
    transaction.create_table(&name, TableSchema::new(stored, Vec::new())?)?;
    let rows = engine.write_rows(planned, &snapshot, &[], transaction, &name, control.clone()).await?;
    Ok((format!("SELECT {rows}"), rows))
}

/// Unqualified names in a view's text mean the default schema for ever, so a text that means something else under
/// today's search path is refused.
fn create_view(
    create: &CreateView,
    running: &Running,
    transaction: &mut Transaction,
    path: &[String],
) -> Result<(String, u64)> {
    let name = new_name(running, transaction)?;
    let planned = running.planned.as_ref().ok_or_else(no_plan)?;
    let columns = named_columns(planned, &create.columns)?;
    let columns = columns.into_iter().map(|(name, value_type)| (name, shown(value_type))).collect();
    let default_path = [ObjectName::DEFAULT_SCHEMA.to_owned()];
    for used in running.statement.uses().iter().filter(|used| used.action == Action::Select) {
        let version = transaction.version();
        if statement::resolve(&used.name, version, path)? != statement::resolve(&used.name, version, &default_path)? {
            return Err(Refusal::new(
                Code::InvalidName,
                format!("the view's text names \"{}\" without a schema", used.name),
            )
            .hint("write schema.name in a view, as its meaning must not depend on a search path"));
        }
    }
    let ast::Statement::CreateView(tree) = running.statement.tree() else { return Err(no_plan()) };
    let text = faithful_text(&tree.query)?;
    transaction.create_view(&name, &text, columns, &running.principal.agent, create.or_replace)?;
    Ok(("CREATE VIEW".into(), 0))
}

/// What the catalog keeps of an output's type: of an array, that it reads as text.
fn shown(value_type: ValueType) -> ColumnType {
    value_type.scalar().unwrap_or(ColumnType::Text)
}

/// A tree as text, if that text means the same tree: what is stored is read again later, and must not have changed.
fn faithful_text(query: &ast::Query) -> Result<String> {
    let text = query.to_string();
    let read = weir_sql::parse(&text)?;
    match read.as_slice() {
        [one] if matches!(one.tree(), ast::Statement::Query(again) if **again == *query) => Ok(text),
        _ => Err(Refusal::unsupported("this query's text in a stored definition")),
    }
}

fn faithful_default(default: &ast::Expr) -> Result<String> {
    let text = default.to_string();
    let query = weir_sql::parse(&format!("SELECT {text}"))?;
    let Some(ast::Statement::Query(query)) = query.first().map(|one| one.tree()) else {
        return Err(Refusal::unsupported(format!("default `{text}`")));
    };
    match query.body.as_ref() {
        ast::SetExpr::Select(select) if matches!(select.projection.as_slice(), [ast::SelectItem::UnnamedExpr(again)] if again == default) => {
            Ok(text)
        }
        _ => Err(Refusal::unsupported(format!("default `{text}`"))),
    }
}

/// The plan's columns under the names given, which must be distinct.
fn named_columns(planned: &weir_engine::Planned, given: &[String]) -> Result<Vec<(String, ValueType)>> {
    let columns = planned.columns().ok_or_else(no_plan)?;
    if given.len() > columns.len() {
        return Err(Refusal::new(Code::SyntaxError, "too many column names were specified"));
    }
    let names = given.iter().map(Some).chain(std::iter::repeat(None));
    let named: Vec<(String, ValueType)> = columns
        .iter()
        .zip(names)
        .map(|(column, name)| (name.unwrap_or(&column.name).clone(), column.value_type))
        .collect();
    let mut seen = std::collections::HashSet::new();
    match named.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        Some((twice, _)) => {
            Err(Refusal::new(Code::DuplicateColumn, format!("column \"{twice}\" specified more than once"))
                .hint("give the columns aliases"))
        }
        None => Ok(named),
    }
}

/// Drops what was authorised to be dropped, and nothing else: names are not resolved again.
fn drop_objects(drop: &DropObjects, running: &Running, transaction: &mut Transaction) -> Result<(String, u64)> {
    for (object, _) in running.objects.iter().filter(|(_, action)| *action == Action::Drop) {
        match drop.kind {
            DropKind::Schema => {
                if !drop.if_exists || transaction.version().has_schema(object.schema()) {
                    transaction.drop_schema(object.schema())?;
                }
            }
            DropKind::Table | DropKind::View => {
                if drop.if_exists && !statement::exists(transaction.version(), object) {
                    continue;
                }
                check_dependents(transaction, object)?;
                if drop.kind == DropKind::Table {
                    transaction.drop_table(object)?;
                } else {
                    transaction.drop_view(object)?;
                }
            }
        }
    }
    let tag = match drop.kind {
        DropKind::Table => "DROP TABLE",
        DropKind::View => "DROP VIEW",
        DropKind::Schema => "DROP SCHEMA",
    };
    Ok((tag.into(), 0))
}

/// Views that name an object keep it from being dropped. They are not named: the principal may not know of them.
fn check_dependents(transaction: &Transaction, object: &ObjectName) -> Result<()> {
    let version = transaction.version();
    let path = [ObjectName::DEFAULT_SCHEMA.to_owned()];
    for view in version.views().filter(|view| view.name != *object) {
        let uses = weir_sql::parse(&view.sql)?.into_iter().flat_map(|inner| inner.uses().to_vec());
        for used in uses {
            if statement::resolve(&used.name, version, &path)?.as_ref() == Some(object) {
                return Err(Refusal::new(
                    Code::DependentObjects,
                    format!("cannot drop \"{}\" because other objects depend on it", object.name()),
                )
                .hint("drop the views that read it first"));
            }
        }
    }
    Ok(())
}

/// All rows go at once, so nobody may empty a table of which a policy hides rows from them.
fn truncate(running: &Running, transaction: &mut Transaction) -> Result<(String, u64)> {
    for (object, _) in running.objects.iter() {
        let filter = running.governance.objects.get(object).map(|governed| &governed.delete);
        if !matches!(filter, Some(RowFilter::Unrestricted)) {
            return Err(Refusal::new(Code::PermissionDenied, format!("cannot truncate \"{}\"", object.name()))
                .detail("row security applies to the table")
                .hint("use DELETE, which removes the rows you may remove"));
        }
        transaction.truncate(object)?;
    }
    Ok(("TRUNCATE TABLE".into(), 0))
}

/// The object that was authorised to come to be, and no other.
fn new_name(running: &Running, transaction: &Transaction) -> Result<ObjectName> {
    let created = running.objects.iter().find(|(_, action)| *action == Action::Create);
    let (name, _) = created.ok_or_else(no_plan)?;
    if !transaction.version().has_schema(name.schema()) {
        return Err(Refusal::new(Code::UndefinedSchema, format!("schema \"{}\" does not exist", name.schema())));
    }
    Ok(name.clone())
}

fn no_plan() -> Refusal {
    Refusal::new(Code::Internal, "the statement has no plan")
}
