use sqlparser::ast::{
    ColumnDef, ColumnOption, CreateTable, CreateTableOptions, CreateView as TreeCreateView, Expr, IndexColumn,
    ObjectName as TreeName, ObjectType, SchemaName, TableConstraint,
};
use weir_model::{Code, ColumnType, Refusal, Result};

use crate::{
    names::{HIDDEN_PREFIX, RawName, fold, raw_name},
    types::column_type,
};

#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDefinition {
    pub name: String,
    pub column_type: ColumnType,
    pub nullable: bool,
    pub default: Option<Expr>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TableDefinition {
    pub name: RawName,
    pub if_not_exists: bool,
    pub columns: Vec<ColumnDefinition>,
    /// Column names, in key order; empty without a primary key.
    pub primary_key: Vec<String>,
}

/// CREATE TABLE … AS: the query is the tree's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTableAs {
    pub name: RawName,
    pub if_not_exists: bool,
    /// Names for the query's columns, empty when not given.
    pub columns: Vec<String>,
}

/// CREATE VIEW: the query is the tree's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateView {
    pub name: RawName,
    pub or_replace: bool,
    pub columns: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSchema {
    pub name: String,
    pub if_not_exists: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropKind {
    Table,
    View,
    Schema,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropObjects {
    pub kind: DropKind,
    /// For schemas, `name` is the schema.
    pub names: Vec<RawName>,
    pub if_exists: bool,
}

pub(crate) fn new_name(name: &TreeName) -> Result<RawName> {
    let name = raw_name(name)?;
    visible(&name.name)?;
    Ok(name)
}

fn visible(name: &str) -> Result<()> {
    if name.starts_with(HIDDEN_PREFIX) {
        return Err(Refusal::new(Code::InvalidName, format!("names starting with `{HIDDEN_PREFIX}` are reserved")));
    }
    Ok(())
}

/// Clauses that neither kind of CREATE TABLE has here. Everything the parser knows and we do not is refused by name.
pub(crate) fn plain_create(create: &CreateTable) -> Result<()> {
    let refused = [
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.temporary || create.global.is_some(), "CREATE TEMPORARY TABLE"),
        (create.external, "CREATE EXTERNAL TABLE"),
        (create.dynamic || create.transient || create.volatile || create.iceberg || create.snapshot, "this table kind"),
        (create.like.is_some() || create.clone.is_some(), "CREATE TABLE … LIKE"),
        (create.inherits.is_some(), "INHERITS"),
        (create.partition_by.is_some() || create.partition_of.is_some() || create.for_values.is_some(), "PARTITION"),
        (create.on_commit.is_some(), "ON COMMIT"),
        (!matches!(create.table_options, CreateTableOptions::None), "table options (WITH)"),
        (create.location.is_some() || create.file_format.is_some(), "a table location"),
        (create.cluster_by.is_some() || create.clustered_by.is_some() || create.order_by.is_some(), "CLUSTER BY"),
        (create.with_row_access_policy.is_some() || create.with_tags.is_some(), "policies in CREATE TABLE"),
        (create.without_rowid || create.strict || create.primary_key.is_some(), "this table clause"),
        (create.version.is_some(), "a table version"),
    ];
    match refused.into_iter().find(|(present, _)| *present) {
        Some((_, what)) => Err(Refusal::unsupported(what)),
        None => Ok(()),
    }
}

pub(crate) fn table_definition(create: &CreateTable) -> Result<TableDefinition> {
    plain_create(create)?;
    let mut primary_key: Vec<String> = Vec::new();
    let mut columns = Vec::with_capacity(create.columns.len());
    for written in &create.columns {
        let (column, is_key) = column_definition(written)?;
        if is_key {
            set_key(&mut primary_key, vec![column.name.clone()])?;
        }
        columns.push(column);
    }
    for constraint in &create.constraints {
        match constraint {
            TableConstraint::PrimaryKey(key) => {
                set_key(&mut primary_key, key.columns.iter().map(key_column).collect::<Result<_>>()?)?;
            }
            other => return Err(unsupported_constraint(&other.to_string())),
        }
    }
    for key in &primary_key {
        let Some(column) = columns.iter_mut().find(|column| column.name == *key) else {
            return Err(Refusal::new(Code::UndefinedColumn, format!("column \"{key}\" named in key does not exist")));
        };
        column.nullable = false;
    }
    if let Some(twice) = first_duplicate(columns.iter().map(|column| column.name.as_str())) {
        return Err(Refusal::new(Code::DuplicateColumn, format!("column \"{twice}\" specified more than once")));
    }
    if let Some(twice) = first_duplicate(primary_key.iter().map(String::as_str)) {
        return Err(Refusal::new(Code::DuplicateColumn, format!("column \"{twice}\" appears twice in primary key")));
    }
    Ok(TableDefinition { name: new_name(&create.name)?, if_not_exists: create.if_not_exists, columns, primary_key })
}

pub(crate) fn create_table_as(create: &CreateTable) -> Result<CreateTableAs> {
    plain_create(create)?;
    if !create.constraints.is_empty() {
        return Err(Refusal::unsupported("constraints in CREATE TABLE AS"));
    }
    let columns = create.columns.iter().map(|column| fold(&column.name)).collect();
    Ok(CreateTableAs { name: new_name(&create.name)?, if_not_exists: create.if_not_exists, columns })
}

pub(crate) fn create_view(create: &TreeCreateView) -> Result<CreateView> {
    let refused = [
        (create.materialized, "CREATE MATERIALIZED VIEW"),
        (create.temporary, "CREATE TEMPORARY VIEW"),
        (create.or_alter || create.if_not_exists, "this form of CREATE VIEW"),
        (!matches!(create.options, CreateTableOptions::None), "view options (WITH)"),
        (create.to.is_some() || create.params.is_some() || !create.cluster_by.is_empty(), "this view clause"),
        (create.columns.iter().any(|column| column.options.is_some()), "options on a view's columns"),
    ];
    if let Some((_, what)) = refused.into_iter().find(|(present, _)| *present) {
        return Err(Refusal::unsupported(what));
    }
    let columns = create.columns.iter().map(|column| fold(&column.name)).collect();
    Ok(CreateView { name: new_name(&create.name)?, or_replace: create.or_replace, columns })
}

pub(crate) fn create_schema(name: &SchemaName, if_not_exists: bool) -> Result<CreateSchema> {
    let SchemaName::Simple(name) = name else {
        return Err(Refusal::unsupported("CREATE SCHEMA … AUTHORIZATION"));
    };
    let name = schema_name(name)?;
    visible(&name)?;
    if name.starts_with("pg_") || matches!(name.as_str(), "information_schema" | "weir") {
        return Err(Refusal::new(Code::InvalidName, format!("schema name \"{name}\" is reserved")));
    }
    Ok(CreateSchema { name, if_not_exists })
}

pub(crate) fn drop_objects(
    object_type: &ObjectType,
    names: &[TreeName],
    if_exists: bool,
    cascade: bool,
) -> Result<DropObjects> {
    let kind = match object_type {
        ObjectType::Table => DropKind::Table,
        ObjectType::View => DropKind::View,
        ObjectType::Schema => DropKind::Schema,
        other => return Err(Refusal::unsupported(format!("DROP {other}"))),
    };
    if cascade {
        return Err(Refusal::unsupported("DROP … CASCADE").hint("drop what depends on it first"));
    }
    let names = names
        .iter()
        .map(|name| match kind {
            DropKind::Schema => Ok(RawName { schema: None, name: schema_name(name)? }),
            DropKind::Table | DropKind::View => raw_name(name),
        })
        .collect::<Result<_>>()?;
    Ok(DropObjects { kind, names, if_exists })
}

fn schema_name(name: &TreeName) -> Result<String> {
    let name = raw_name(name)?;
    match name.schema {
        None => Ok(name.name),
        Some(_) => Err(Refusal::new(Code::SchemaViolation, format!("schema name `{name}` has more than one part"))),
    }
}

fn column_definition(written: &ColumnDef) -> Result<(ColumnDefinition, bool)> {
    let name = fold(&written.name);
    visible(&name)?;
    let mut column =
        ColumnDefinition { name, column_type: column_type(&written.data_type)?, nullable: true, default: None };
    let mut is_key = false;
    for option in &written.options {
        match &option.option {
            ColumnOption::Null => column.nullable = true,
            ColumnOption::NotNull => column.nullable = false,
            ColumnOption::Default(expr) => column.default = Some(expr.clone()),
            ColumnOption::PrimaryKey(_) => is_key = true,
            other => return Err(unsupported_constraint(&other.to_string())),
        }
    }
    Ok((column, is_key))
}

fn unsupported_constraint(written: &str) -> Refusal {
    let short: String = written.chars().take(60).collect();
    Refusal::unsupported(format!("`{short}` on a table")).hint("PRIMARY KEY, NOT NULL and DEFAULT are")
}

fn set_key(key: &mut Vec<String>, columns: Vec<String>) -> Result<()> {
    if !key.is_empty() {
        return Err(Refusal::new(Code::SyntaxError, "multiple primary keys for one table are not allowed"));
    }
    *key = columns;
    Ok(())
}

fn key_column(column: &IndexColumn) -> Result<String> {
    match &column.column.expr {
        Expr::Identifier(ident) if column.operator_class.is_none() => Ok(fold(ident)),
        other => Err(Refusal::unsupported(format!("`{other}` in a primary key"))),
    }
}

fn first_duplicate<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    names.find(|name| !seen.insert(*name))
}
