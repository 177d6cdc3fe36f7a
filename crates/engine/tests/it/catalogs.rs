//! Clients' recorded queries over the catalogs, through the whole engine, and what the catalogs must not tell.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use weir_model::{Code, ColumnType};
use weir_store::{Column, TableSchema};

use crate::world::{World, name};

/// The tables that the recorded answers are of, and two that the principal may not know of: alone in a schema, and
/// beside others.
fn world() -> World {
    let mut world = World::new();
    for schema in ["sales", "unseen_schema"] {
        let mut transaction = world.database.begin();
        transaction.create_schema(schema).unwrap();
        world.database.commit_blocking(transaction).unwrap();
    }
    world.setup(
        r#"CREATE TABLE every_type (b boolean, si smallint, i integer NOT NULL DEFAULT 7, bi bigint, r real,
             d double precision, n numeric(15,2), nn numeric(38,10), t text NOT NULL, v varchar(25), by bytea, da date,
             ti time, ts timestamp, tz timestamptz DEFAULT now(), iv interval, u uuid, j json, jb jsonb);
           CREATE TABLE sales.orders (id bigint NOT NULL, region text NOT NULL, amount numeric(12,2) DEFAULT 0,
             note varchar(40), PRIMARY KEY (id, region));
           CREATE TABLE unseen_schema.unseen (id int PRIMARY KEY, x text DEFAULT 'unseen');
           CREATE TABLE sales.unseen_too (id int PRIMARY KEY);
           CREATE VIEW sales.big_orders AS SELECT id, amount FROM sales.orders WHERE amount > 100;
           CREATE VIEW v AS SELECT 1::int AS one, 'a' AS a;
           INSERT INTO sales.unseen_too VALUES (1), (2)"#,
    );
    let column = |name: &str, column_type| Column { name: name.into(), column_type, nullable: true, default: None };
    let odd = TableSchema::new(vec![column("Key", ColumnType::Integer), column("val", ColumnType::Text)], vec![0]);
    let mut transaction = world.database.begin();
    transaction.create_table(&name("sales.\"Odd Name\""), odd.unwrap()).unwrap();
    world.database.commit_blocking(transaction).unwrap();
    world.hide("unseen_schema.unseen");
    world.hide("sales.unseen_too");
    world.hide("unseen_schema.unseen_schema");
    world
}

fn answer(world: &World, sql: &str) -> Result<Vec<String>, String> {
    let planned = world.plan(sql, &[]).map_err(|refusal| format!("{refusal:?}"))?;
    let batches = world.execute(&planned, &[]).map_err(|refusal| format!("{refusal:?}"))?;
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

fn oid_of(world: &World, relation: &str) -> String {
    let found = answer(world, &format!("SELECT '{relation}'::regclass::oid")).unwrap();
    found.into_iter().next().unwrap()
}

struct Recorded {
    name: String,
    sql: String,
    /// How the rows are to be compared: as they are, without those of system schemas, or not at all.
    expects: String,
    rows: Vec<String>,
}

fn recorded(world: &World, text: &str) -> Vec<Recorded> {
    let mut text = text.to_owned();
    for relation in ["sales.orders", "public.every_type", "sales.big_orders", "public.v", "sales.orders_pkey"] {
        text = text.replace(&format!("{{{relation}}}"), &oid_of(world, relation));
    }
    text = text.replace("{sales.Odd Name}", &oid_of(world, "sales.\"Odd Name\""));
    let mut found: Vec<Recorded> = Vec::new();
    for line in text.lines() {
        let expectation = matches!(line, "-- rows" | "-- rows of the org" | "-- any rows");
        match (line.strip_prefix("-- "), found.last_mut()) {
            (Some(how), Some(current)) if expectation => current.expects = how.to_owned(),
            (Some(name), _) => {
                let empty = String::new();
                found.push(Recorded { name: name.into(), sql: empty.clone(), expects: empty, rows: Vec::new() });
            }
            (None, Some(current)) if current.expects.is_empty() => current.sql.push_str(&format!("{line}\n")),
            (None, Some(current)) => current.rows.push(line.to_owned()),
            (None, None) => {}
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

fn check(text: &str) {
    let world = world();
    let mut failures = Vec::new();
    for Recorded { name, sql, expects, mut rows } in recorded(&world, text) {
        let mut found = match answer(&world, &sql) {
            Ok(found) => found.join("\n").lines().map(str::to_owned).collect::<Vec<_>>(),
            Err(why) => {
                failures.push(format!("{name}: {why}"));
                continue;
            }
        };
        if found.iter().any(|line| line.contains("unseen")) {
            failures.push(format!("{name} tells of what is hidden: {found:#?}"));
        }
        if expects == "rows of the org" {
            found.retain(|line| !is_of_the_system(line));
        }
        // Only an order at the end is the answer's.
        if !sql.rsplit(')').next().is_some_and(|end| end.contains("ORDER BY")) {
            found.sort();
            rows.sort();
        }
        if expects != "any rows" && found != rows {
            failures.push(format!("{name}\n  expected {rows:#?}\n  found {found:#?}"));
        }
    }
    assert!(failures.is_empty(), "{} failed\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn psql_describes() {
    check(include_str!("../catalog/psql.sql"));
}

#[test]
fn psql_completes() {
    check(include_str!("../catalog/completion.sql"));
}

#[test]
fn sqlalchemy_reflects() {
    check(include_str!("../catalog/sqlalchemy.sql"));
}

#[test]
fn jdbc_reads_metadata() {
    check(include_str!("../catalog/jdbc.sql"));
}

#[test]
fn other_tools_find_their_way() {
    check(include_str!("../catalog/tools.sql"));
}

#[test]
fn hidden_objects_are_in_no_relation_and_no_function() {
    let world = world();
    let hidden = world.database.version();
    let oids: Vec<u32> = ["unseen_schema.unseen", "sales.unseen_too"]
        .into_iter()
        .map(|table| hidden.table(&name(table)).unwrap().oid())
        .collect();
    let relations = answer(
        &world,
        "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('pg_catalog', 'information_schema')",
    )
    .unwrap();
    assert!(relations.len() > 100, "{relations:?}");
    for relation in relations {
        let rows = answer(&world, &format!("SELECT * FROM {relation}")).unwrap();
        let telling: Vec<&String> = rows.iter().filter(|row| row.contains("unseen")).collect();
        assert!(telling.is_empty(), "{relation}: {telling:?}");
    }
    for oid in oids {
        for sql in [
            format!("SELECT relname FROM pg_class WHERE oid = {oid}"),
            format!("SELECT pg_table_is_visible({oid})::text"),
            format!("SELECT pg_catalog.has_table_privilege({oid}, 'select')::text"),
            format!("SELECT pg_get_indexdef({oid} + 536870912)"),
            format!("SELECT pg_get_constraintdef({oid} + 1073741824)"),
        ] {
            let found = answer(&world, &sql).unwrap();
            assert!(found.iter().all(String::is_empty), "{sql}: {found:?}");
        }
        let printed = answer(&world, &format!("SELECT {oid}::regclass::text")).unwrap();
        assert_eq!(printed, [oid.to_string()]);
    }
}

#[test]
fn hidden_and_missing_names_are_refused_alike() {
    let world = world();
    for name in ["unseen_schema.unseen", "unseen_schema.missing", "sales.unseen_too", "sales.missing", "missing"] {
        let refusal = world.refused(&format!("SELECT '{name}'::regclass::oid"), Code::UndefinedTable);
        assert_eq!(refusal.message(), format!("relation \"{name}\" does not exist"));
        world.check(&format!("SELECT pg_catalog.to_regclass('{name}') IS NULL"), &["true"]);
    }
    for name in ["unseen_schema", "missing"] {
        world.refused(&format!("SELECT '{name}'::regnamespace::oid"), Code::UndefinedSchema);
    }
}

#[test]
fn a_view_over_what_is_hidden_shows_no_text() {
    let world = world();
    world.check("SELECT pg_get_viewdef('sales.big_orders'::regclass) IS NULL", &["false"]);
    let mut world = world;
    world.hide("sales.orders");
    world.check("SELECT pg_get_viewdef('sales.big_orders'::regclass) IS NULL", &["true"]);
}

#[test]
fn catalogs_and_tables_join() {
    let world = world();
    world.setup("INSERT INTO sales.orders VALUES (1, 'eu', 5, 'x'), (2, 'us', 500, NULL)");
    world.check(
        "SELECT c.relname, count(*) FROM pg_class c CROSS JOIN sales.orders o WHERE c.relname = 'orders'
         GROUP BY c.relname",
        &["orders|2"],
    );
    world.check(
        "SELECT o.id, (SELECT n.nspname FROM pg_namespace n WHERE n.nspname = 'sales') FROM sales.orders o ORDER BY 1",
        &["1|sales", "2|sales"],
    );
}

#[test]
fn columns_are_named_as_postgres_names_them() {
    let world = world();
    let check = |sql: &str, expected: &[&str]| {
        let planned = world.plan(sql, &[]).unwrap();
        let names: Vec<&str> = planned.columns().unwrap().iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, expected, "{sql}");
    };
    check(
        "SELECT oid, *, NULL, 1 FROM pg_am",
        &["oid", "oid", "amname", "amhandler", "amtype", "?column?", "?column?"],
    );
    check(
        "SELECT c.oid::regclass, pg_get_userbyid(relowner), ARRAY(SELECT tgname FROM pg_trigger), (SELECT n.nspname FROM
         pg_namespace n WHERE n.oid = c.relnamespace), 'pg_am'::regclass FROM pg_class c",
        &["oid", "pg_get_userbyid", "array", "nspname", "regclass"],
    );
    check(
        "SELECT pubname, NULL, 'r' = ANY (evttags) FROM pg_publication, pg_event_trigger",
        &["pubname", "?column?", "?column?"],
    );
}

#[test]
fn a_scalar_subquery_has_one_row() {
    let world = world();
    world.refused(
        "SELECT (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid) FROM pg_class c WHERE c.relname = 'orders'",
        Code::CardinalityViolation,
    );
    world.check(
        "SELECT (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = 2) FROM pg_class c
         WHERE c.relname = 'orders'",
        &["region"],
    );
}

#[test]
fn columns_that_share_a_catalogs_name_are_the_tables_own() {
    let world = world();
    world.setup("CREATE TABLE mine (indkey int, reloptions text, contype text); INSERT INTO mine VALUES (7, 'a', 'f')");
    world.check("SELECT indkey, reloptions FROM mine CROSS JOIN pg_am WHERE amname = 'heap'", &["7|a"]);
    world.check("SELECT m.contype FROM mine m CROSS JOIN pg_constraint c WHERE m.contype = 'f' LIMIT 1", &["f"]);
}

#[test]
fn settings_are_read_and_not_written() {
    let world = world();
    world.check("SELECT setting FROM pg_settings WHERE name = 'max_index_keys'", &["32"]);
    world.refused("SELECT set_config('search_path', '', false) FROM pg_am", Code::Unsupported);
}
