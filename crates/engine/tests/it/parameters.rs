use weir_model::{Code, ColumnType, Value, ValueType};

use crate::world::{World, text};

fn world() -> World {
    let world = World::new();
    world.setup(
        "CREATE TABLE t (id bigint PRIMARY KEY, n integer, label text, price numeric(12,2), placed date, ref uuid);
         INSERT INTO t VALUES (1, 10, 'a', 1.25, '2024-01-01', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'),
             (2, 20, 'b', 2.50, '2024-02-01', NULL), (3, 30, 'c', 3.75, '2024-03-01', NULL)",
    );
    world
}

#[test]
fn types_are_inferred_from_where_parameters_stand() {
    let world = world();
    let check = |sql: &str, expected: &[&str]| {
        let planned = world.plan(sql, &[]).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
        let types: Vec<String> = planned.parameters().iter().map(ToString::to_string).collect();
        assert_eq!(types, expected, "{sql}");
    };
    check("SELECT * FROM t WHERE id = $1", &["bigint"]);
    check("SELECT * FROM t WHERE n BETWEEN $1 AND $2 AND label IN ($3, 'x')", &["integer", "integer", "text"]);
    check("SELECT * FROM t WHERE placed >= $1 AND price < $2 AND ref = $3", &["date", "numeric(38,10)", "uuid"]);
    check("SELECT $1", &["text"]);
    check("SELECT $1::int, $2::timestamp", &["integer", "timestamp without time zone"]);
    check("SELECT coalesce(n, $1) FROM t", &["integer"]);
    check("SELECT * FROM t ORDER BY id LIMIT $1 OFFSET $2", &["bigint", "bigint"]);
    check("SELECT * FROM t WHERE label LIKE $1", &["text"]);
    check("SELECT n + $1 FROM t", &["integer"]);
    check("SELECT * FROM t WHERE id IN (SELECT id FROM t WHERE n = $1)", &["integer"]);
    check("SELECT CASE WHEN $1 THEN n ELSE $2 END FROM t", &["boolean", "integer"]);
    check(
        "INSERT INTO t (id, n) VALUES ($1, $2), ($3::smallint, $4::numeric(12,2))",
        &["bigint", "integer", "smallint", "numeric(38,10)"],
    );
}

#[test]
fn declared_types_are_respected() {
    let world = world();
    let planned = world.plan("SELECT label FROM t WHERE id = $1", &[Some(ColumnType::SmallInt.into())]).unwrap();
    assert_eq!(planned.parameters(), [ValueType::Scalar(ColumnType::SmallInt)]);
    assert_eq!(text(&planned, &world.execute(&planned, &[Value::SmallInt(2)]).unwrap()), ["b"]);
    let planned = world.plan("SELECT label FROM t WHERE n = $1", &[Some(ColumnType::BigInt.into())]).unwrap();
    assert_eq!(text(&planned, &world.execute(&planned, &[Value::BigInt(20)]).unwrap()), ["b"]);
    assert_eq!(text(&planned, &world.execute(&planned, &[Value::BigInt(20_000_000_000)]).unwrap()), [] as [&str; 0]);
}

#[test]
fn one_plan_serves_many_values() {
    let world = world();
    let planned = world.plan("SELECT id FROM t WHERE n > $1 AND placed < $2 ORDER BY id LIMIT $3", &[]).unwrap();
    let run = |n: i32, day: i32, limit: i64| {
        let values = [Value::Integer(n), Value::Date(day), Value::BigInt(limit)];
        text(&planned, &world.execute(&planned, &values).unwrap())
    };
    assert_eq!(run(0, 20_000, 10), ["1", "2", "3"]);
    assert_eq!(run(10, 20_000, 1), ["2"]);
    assert_eq!(run(0, 19_730, 10), ["1"]);
    let missing = world.execute(&planned, &[Value::Integer(1)]).unwrap_err();
    assert_eq!(missing.code(), Code::ProtocolViolation);
}

#[test]
fn text_values_are_read_as_the_parameter_s_type() {
    let world = world();
    let planned = world.plan("SELECT label FROM t WHERE n = $1", &[]).unwrap();
    assert_eq!(text(&planned, &world.execute(&planned, &[Value::Text("20".into())]).unwrap()), ["b"]);
    let bad = world.execute(&planned, &[Value::Text("x".into())]).unwrap_err();
    assert_eq!(bad.code(), Code::InvalidTextRepresentation);
    let planned = world.plan("SELECT label FROM t WHERE ref = $1", &[]).unwrap();
    let upper = Value::Text("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11".into());
    assert_eq!(text(&planned, &world.execute(&planned, &[upper]).unwrap()), ["a"]);
    world.check_with("SELECT id FROM t WHERE label = $1", &[Value::Null(None)], &[]);
}

/// A template holds no clock: the same plan gives another time later.
#[test]
fn now_is_the_time_of_each_execution() {
    let world = world();
    let planned = world.plan("SELECT now(), id FROM t WHERE now() > '2020-01-01' AND id = 1", &[]).unwrap();
    let first = text(&planned, &world.execute(&planned, &[]).unwrap());
    std::thread::sleep(std::time::Duration::from_millis(5));
    let second = text(&planned, &world.execute(&planned, &[]).unwrap());
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
}
