//! Clients' own queries, recorded, against a fixture; the expected rows are what PostgreSQL 15 answered for the same
//! tables, where it is not said otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::{
    arrow::datatypes::DataType,
    catalog::{MemTable, MemorySchemaProvider, SchemaProvider},
    common::ScalarValue,
    logical_expr::{ColumnarValue, Volatility, create_udf},
    prelude::{SessionConfig, SessionContext},
};
use sqlparser::{dialect::PostgreSqlDialect, parser::Parser};
use weir_model::{Action, ColumnType, ObjectName};

use super::{
    build, functions, layout,
    objects::{Attribute, Kind, Objects, Relation, Session, SharedObjects, index_oid},
    rewrite,
};

fn relation(oid: u32, schema: &str, name: &str, columns: Vec<Attribute>, key: Vec<usize>) -> Relation {
    Relation {
        oid,
        name: ObjectName::new(schema, name).unwrap(),
        kind: Kind::Table,
        columns,
        key,
        definition: None,
        actions: vec![Action::Select],
    }
}

fn column(name: &str, tag: &str, not_null: bool, default: Option<&str>) -> Attribute {
    Attribute {
        name: name.into(),
        column_type: ColumnType::from_tag(tag).unwrap(),
        not_null,
        default: default.map(str::to_owned),
    }
}

fn every_type() -> Vec<Attribute> {
    let plain = |name, tag| column(name, tag, false, None);
    vec![
        plain("b", "boolean"),
        plain("si", "smallint"),
        column("i", "integer", true, Some("7")),
        plain("bi", "bigint"),
        plain("r", "real"),
        plain("d", "double precision"),
        plain("n", "numeric(15,2)"),
        plain("nn", "numeric(38,10)"),
        column("t", "text", true, None),
        plain("v", "varchar(25)"),
        plain("by", "bytea"),
        plain("da", "date"),
        plain("ti", "time"),
        plain("ts", "timestamp"),
        column("tz", "timestamptz", false, Some("now()")),
        plain("iv", "interval"),
        plain("u", "uuid"),
        plain("j", "json"),
        plain("jb", "jsonb"),
    ]
}

fn objects() -> Objects {
    let session = Session {
        user: "tester".into(),
        database: "acme".into(),
        roles: vec!["analyst".into()],
        owner: "admin".into(),
        search_path: vec!["public".into()],
        process_id: 4711,
        application_name: "test".into(),
        settings: vec![("max_index_keys".into(), "32".into()), ("search_path".into(), "public".into())],
    };
    let mut orders = relation(
        16_400,
        "sales",
        "orders",
        vec![
            column("id", "bigint", true, None),
            column("region", "text", true, None),
            column("amount", "numeric(12,2)", false, Some("0")),
            column("note", "varchar(40)", false, None),
        ],
        vec![0, 1],
    );
    orders.actions = vec![Action::Select, Action::Insert];
    let odd = vec![column("Key", "integer", true, None), column("val", "text", false, None)];
    let big = vec![column("id", "bigint", false, None), column("amount", "numeric(12,2)", false, None)];
    let view = |oid, schema, name, columns, text: &str| Relation {
        kind: Kind::View,
        definition: Some(text.to_owned()),
        ..relation(oid, schema, name, columns, Vec::new())
    };
    let one = vec![column("one", "integer", false, None), column("a", "text", false, None)];
    let relations = vec![
        relation(16_401, "public", "every_type", every_type(), Vec::new()),
        orders,
        relation(16_402, "sales", "Odd Name", odd, vec![0]),
        view(16_403, "sales", "big_orders", big, "SELECT id, amount FROM sales.orders WHERE amount > 100"),
        view(16_404, "public", "v", one, "SELECT 1 AS one, 'a' AS a"),
    ];
    Objects::new(session, vec![(16_384, "public".into()), (16_385, "sales".into())], relations)
}

/// The same DataFusion that the engine plans with, without governance: the catalogs alone.
fn context() -> SessionContext {
    let objects: SharedObjects = Arc::new(LazyLock::new(Box::new(objects)));
    let config = SessionConfig::new().with_target_partitions(1).with_default_catalog_and_schema("acme", "pg_catalog");
    let context = SessionContext::new_with_config(config);
    let catalog = context.catalog("acme").unwrap();
    for schema in ["pg_catalog", "information_schema"] {
        let provider = MemorySchemaProvider::new();
        for layout in layout::all().iter().filter(|layout| layout.schema == schema) {
            let batch = build(layout, &objects).unwrap();
            let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
            provider.register_table(layout.name.to_owned(), Arc::new(table)).unwrap();
        }
        catalog.register_schema(schema, Arc::new(provider)).unwrap();
    }
    for function in functions::all(&objects) {
        context.register_udf((*function).clone());
    }
    // What the engine answers itself.
    for (name, value) in [
        ("current_user", "tester"),
        ("current_database", "acme"),
        ("current_schema", "public"),
        ("version", "PostgreSQL 15.0 (Weir 0.1.0)"),
    ] {
        let answer = ColumnarValue::Scalar(ScalarValue::from(value));
        let body = Arc::new(move |_: &[ColumnarValue]| Ok(answer.clone()));
        context.register_udf(create_udf(name, vec![], DataType::Utf8, Volatility::Stable, body));
    }
    let setting = Arc::new(|_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::from("heap"))));
    context.register_udf(create_udf(
        "current_setting",
        vec![DataType::Utf8],
        DataType::Utf8,
        Volatility::Stable,
        setting,
    ));
    context
}

async fn answer(context: &SessionContext, sql: &str) -> Result<Vec<String>, String> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|why| why.to_string())?;
    let statement = rewrite::rewrite(statements.pop().unwrap());
    let text = statement.to_string();
    let statement = datafusion::sql::parser::Statement::Statement(Box::new(statement));
    let explained = |why: datafusion::error::DataFusionError| format!("{why}\n  rewritten: {text}");
    let plan = context.state().statement_to_plan(statement).await.map_err(explained)?;
    let frame = context.execute_logical_plan(plan).await.map_err(explained)?;
    let batches = frame.collect().await.map_err(explained)?;
    Ok(batches.iter().flat_map(lines).collect())
}

/// Rows as `psql -At` prints them.
fn lines(batch: &RecordBatch) -> Vec<String> {
    let row = |row: usize| batch.columns().iter().map(|column| shown(column, row)).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

fn shown(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return String::new();
    }
    match column.data_type() {
        DataType::Boolean => if column.as_boolean().value(row) { "t" } else { "f" }.to_owned(),
        DataType::List(_) => {
            let list = column.as_list::<i32>().value(row);
            let items: Vec<String> = (0..list.len()).map(|place| shown(&list, place)).collect();
            format!("{{{}}}", items.join(","))
        }
        _ => ArrayFormatter::try_new(column, &FormatOptions::default()).unwrap().value(row).to_string(),
    }
}

/// A recorded query, and the rows that are its answer.
struct Recorded {
    name: String,
    sql: String,
    rows: Vec<String>,
    expects: Expects,
}

#[derive(Clone, Copy, PartialEq)]
enum Expects {
    /// Not yet at the rows.
    Unsaid,
    Rows,
    /// Those that are not of system schemas, which hold more in PostgreSQL.
    RowsOfTheOrg,
    AnyRows,
}

fn recorded(text: &str) -> Vec<Recorded> {
    let oids: HashMap<&str, u32> = HashMap::from([
        ("{sales.orders}", 16_400),
        ("{public.every_type}", 16_401),
        ("{sales.Odd Name}", 16_402),
        ("{sales.big_orders}", 16_403),
        ("{public.v}", 16_404),
        ("{sales.orders_pkey}", index_oid(16_400)),
    ]);
    let filled = oids.iter().fold(text.to_owned(), |text, (name, oid)| text.replace(name, &oid.to_string()));
    let mut found: Vec<Recorded> = Vec::new();
    for line in filled.lines() {
        let expects = match line {
            "-- rows" => Some(Expects::Rows),
            "-- rows of the org" => Some(Expects::RowsOfTheOrg),
            "-- any rows" => Some(Expects::AnyRows),
            _ => None,
        };
        if let (Some(expects), Some(current)) = (expects, found.last_mut()) {
            current.expects = expects;
        } else if let Some(name) = line.strip_prefix("-- ") {
            let name = name.to_owned();
            found.push(Recorded { name, sql: String::new(), rows: Vec::new(), expects: Expects::Unsaid });
        } else if let Some(current) = found.last_mut() {
            if current.expects != Expects::Unsaid {
                current.rows.push(line.to_owned());
            } else {
                current.sql.push_str(line);
                current.sql.push('\n');
            }
        }
    }
    // A blank line parts the blocks.
    for each in &mut found {
        if each.rows.last().is_some_and(String::is_empty) {
            each.rows.pop();
        }
    }
    found
}

fn is_of_the_system(line: &str) -> bool {
    line.starts_with("pg_") || line.contains("|pg_") || line.contains("information_schema")
}

async fn check(file: &str, text: &str) {
    let context = context();
    let mut failures = Vec::new();
    for Recorded { name, sql, rows, expects } in recorded(text) {
        match answer(&context, &sql).await {
            Ok(found) => {
                let mut found: Vec<String> = found.join("\n").lines().map(str::to_owned).collect();
                if expects == Expects::AnyRows {
                    continue;
                }
                if expects == Expects::RowsOfTheOrg {
                    found.retain(|line| !is_of_the_system(line));
                }
                // Only by an order at the end: one within parentheses is not the answer's.
                let ordered = sql.rsplit(')').next().is_some_and(|end| end.contains("ORDER BY"));
                let sorted = |mut lines: Vec<String>| {
                    if !ordered {
                        lines.sort();
                    }
                    lines
                };
                let (found, rows) = (sorted(found), sorted(rows));
                if found != rows {
                    failures.push(format!("{name}\n  expected {rows:#?}\n  found {found:#?}"));
                }
            }
            Err(why) => failures.push(format!("{name}: {why}")),
        }
    }
    assert!(failures.is_empty(), "{file}: {} failed\n{}", failures.len(), failures.join("\n\n"));
}

#[tokio::test]
async fn psql_describes() {
    check("psql", include_str!("../../tests/catalog/psql.sql")).await;
}

#[tokio::test]
async fn psql_completes() {
    check("completion", include_str!("../../tests/catalog/completion.sql")).await;
}

#[tokio::test]
async fn sqlalchemy_reflects() {
    check("sqlalchemy", include_str!("../../tests/catalog/sqlalchemy.sql")).await;
}

#[tokio::test]
async fn jdbc_reads_metadata() {
    check("jdbc", include_str!("../../tests/catalog/jdbc.sql")).await;
}

#[tokio::test]
async fn other_tools_find_their_way() {
    check("tools", include_str!("../../tests/catalog/tools.sql")).await;
}

#[tokio::test]
async fn every_relation_can_be_read_whole() {
    let context = context();
    for layout in layout::all() {
        let sql = format!("SELECT * FROM {}.{}", layout.schema, layout.name);
        answer(&context, &sql).await.unwrap_or_else(|why| panic!("{}: {why}", layout.name));
    }
}
