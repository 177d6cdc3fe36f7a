use arrow::array::Array;
use weir_model::{Code, ColumnType, Value, ValueType};
use weir_policy::{MaskKind, MaskPredicates};

use crate::world::{World, text};

fn world() -> World {
    let world = World::new();
    world.setup(
        "CREATE TABLE t (id bigint PRIMARY KEY, n integer, label text, price numeric(12,2), ref uuid);
         INSERT INTO t VALUES (1, 10, 'a', 1.25, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (2, 20, 'b', 2.50, NULL),
             (3, NULL, 'null', 3.75, NULL)",
    );
    world
}

fn array(element: ColumnType, elements: impl IntoIterator<Item = Value>) -> Value {
    Value::Array { element, elements: elements.into_iter().collect() }
}

fn integers(elements: &[i32]) -> Value {
    array(ColumnType::Integer, elements.iter().copied().map(Value::Integer))
}

#[test]
fn types_of_arrays_are_inferred_from_what_they_are_compared_with() {
    let world = world();
    let check = |sql: &str, expected: &[&str]| {
        let planned = world.plan(sql, &[]).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
        let types: Vec<String> = planned.parameters().iter().map(ToString::to_string).collect();
        assert_eq!(types, expected, "{sql}");
    };
    check("SELECT * FROM t WHERE id = ANY($1)", &["bigint[]"]);
    check("SELECT * FROM t WHERE label <> ALL($1) AND n = ANY ($2)", &["text[]", "integer[]"]);
    check("SELECT * FROM t WHERE ref = ANY($1)", &["uuid[]"]);
    check("SELECT $1::int[], CAST($2 AS text[])", &["integer[]", "text[]"]);
    check("SELECT * FROM t WHERE id = ANY($1::bigint[])", &["bigint[]"]);
    check("DELETE FROM t WHERE id = ANY($1)", &["bigint[]"]);
    check("UPDATE t SET n = $2 WHERE label = ANY($1)", &["text[]", "integer"]);
    check("SELECT oid FROM pg_type WHERE oid = ANY($1::oid[]) OR oid = $2::oid", &["oid[]", "oid"]);
    // Rewritten away, and still a parameter.
    check("SELECT generate_subscripts(indkey, $1::integer) FROM pg_index", &["integer"]);
}

#[test]
fn any_and_all_have_three_values_of_truth() {
    let world = world();
    let check = |sql: &str, value: Value, expected: &[&str]| {
        let planned = world.plan(sql, &[]).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
        let found = world.execute(&planned, std::slice::from_ref(&value));
        assert_eq!(text(&planned, &found.unwrap()), expected, "{sql} with {value:?}");
    };
    let null = || Value::Null(Some(ColumnType::Integer));
    check("SELECT id FROM t WHERE n = ANY($1) ORDER BY id", integers(&[20, 10, 7]), &["1", "2"]);
    check("SELECT id FROM t WHERE n = ANY($1) ORDER BY id", integers(&[]), &[]);
    check("SELECT id FROM t WHERE n <> ALL($1) ORDER BY id", integers(&[10]), &["2"]);
    check("SELECT id FROM t WHERE n <> ALL($1) ORDER BY id", integers(&[]), &["1", "2", "3"]);
    let with_null = array(ColumnType::Integer, [Value::Integer(10), null()]);
    check("SELECT id FROM t WHERE n = ANY($1) ORDER BY id", with_null.clone(), &["1"]);
    check("SELECT id FROM t WHERE n <> ALL($1) ORDER BY id", with_null.clone(), &[]);
    check("SELECT id FROM t WHERE (n = ANY($1)) IS NULL ORDER BY id", with_null, &["2", "3"]);
    check("SELECT id FROM t WHERE (n = ANY($1)) IS NULL ORDER BY id", Value::Null(None), &["1", "2", "3"]);
    // A narrower array than the column, as drivers send small numbers.
    let small = array(ColumnType::SmallInt, [Value::SmallInt(1), Value::SmallInt(3)]);
    let planned =
        world.plan("SELECT id FROM t WHERE id = ANY($1) ORDER BY id", &[Some(ValueType::Array(ColumnType::SmallInt))]);
    let planned = planned.unwrap();
    assert_eq!(text(&planned, &world.execute(&planned, &[small]).unwrap()), ["1", "3"]);
    // A text, as EXECUTE gives it.
    check("SELECT id FROM t WHERE n = ANY($1)", Value::Text("{10, NULL}".into()), &["1"]);
    check("SELECT id FROM t WHERE label = ANY($1)", Value::Text("{\"null\",NULL}".into()), &["3"]);
    let upper = Value::Text("{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}".into());
    check("SELECT id FROM t WHERE ref = ANY($1)", upper, &["1"]);
    let prices = array(ColumnType::NUMERIC_DEFAULT, [Value::Numeric { unscaled: 25, precision: 2, scale: 1 }]);
    check("SELECT id FROM t WHERE price = ANY($1)", prices, &["2"]);
}

#[test]
fn arrays_written_out_are_lists() {
    let world = world();
    let check = |sql: &str, expected: &[&str]| {
        let planned = world.plan(sql, &[]).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
        assert_eq!(text(&planned, &world.execute(&planned, &[]).unwrap()), expected, "{sql}");
    };
    check("SELECT id FROM t WHERE n = ANY('{10, 20}') ORDER BY id", &["1", "2"]);
    check("SELECT id FROM t WHERE n = ANY('{10}'::int[])", &["1"]);
    check("SELECT id FROM t WHERE n = ANY(ARRAY[id * 10]) ORDER BY id", &["1", "2"]);
    check("SELECT id FROM t WHERE label <> ALL('{a,b}')", &["3"]);
    check("SELECT id FROM t WHERE label = ANY('{NULL}')", &[]);
    check("SELECT id FROM t WHERE label = ANY('{\"null\"}')", &["3"]);
    check("SELECT count(*) FROM t WHERE NOT (n = ANY('{}'))", &["3"]);
    check("SELECT n = ANY(a) FROM (SELECT 2 AS n, array_agg(id) AS a FROM t) AS s", &["true"]);
    check("SELECT '{\u{a0}}'::text[] = ARRAY['\u{a0}']", &["true"]);
    check("SELECT 5 = ANY(('{' || id || ',5}')::int[]) FROM t WHERE id = 1", &["true"]);
}

#[test]
fn results_say_what_their_elements_are() {
    let world = world();
    let planned = world
        .plan(
            "SELECT array_agg(id), array_agg(label ORDER BY id), array_agg(ref), ARRAY[1, 2], array_agg(price), \
             '{1}'::smallint[], array_agg(lower(label)), ARRAY[ARRAY[1], ARRAY[2]] FROM t",
            &[],
        )
        .unwrap();
    let types: Vec<String> = planned.columns().unwrap().iter().map(|column| column.value_type.to_string()).collect();
    let expected =
        ["bigint[]", "text[]", "uuid[]", "integer[]", "numeric(12,2)[]", "smallint[]", "text[]", "integer[]"];
    assert_eq!(types, expected);
}

#[test]
fn what_is_no_array_is_said_so() {
    let world = world();
    let check = |sql: &str, code: Code| {
        let result = world.plan(sql, &[]).and_then(|planned| world.execute(&planned, &[]));
        assert_eq!(result.map(|_| ()).unwrap_err().code(), code, "{sql}");
    };
    check("SELECT id FROM t WHERE n = ANY('{10')", Code::InvalidTextRepresentation);
    check("SELECT id FROM t WHERE n = ANY('{x}')", Code::InvalidTextRepresentation);
    check("SELECT id FROM t WHERE n = ANY('{{1}}')", Code::Unsupported);
    check("SELECT id FROM t WHERE n = ANY(label)", Code::WrongObjectType);
    check("SELECT id FROM t WHERE n = ANY(ARRAY[label])", Code::UndefinedFunction);
    check("SELECT '{1,x}'::int[]", Code::InvalidTextRepresentation);
    check("SELECT 5::int[]", Code::DatatypeMismatch);
    check("SELECT '{{1}}'::int[]", Code::Unsupported);
}

#[test]
fn masks_hold_for_elements_and_for_comparisons_with_them() {
    let mut world = world();
    world.mask("t", "label", MaskKind::Redact, MaskPredicates::Refuse);
    for sql in [
        "SELECT id FROM t WHERE label = ANY($1)",
        "SELECT id FROM t WHERE label = ANY('{a}')",
        "SELECT id FROM t WHERE 'a' <> ALL(ARRAY[label])",
        "SELECT id FROM t WHERE 'a' = ANY(string_to_array(label, ','))",
    ] {
        let refusal = world.plan(sql, &[]).map(|_| ()).unwrap_err();
        assert_eq!(refusal.code(), Code::MaskedPredicate, "{sql}: {refusal}");
    }
    for sql in ["SELECT array_agg(label) FROM t", "SELECT ARRAY[label] FROM t WHERE id = 1"] {
        let planned = world.plan(sql, &[]).unwrap();
        assert_eq!(planned.columns().unwrap()[0].value_type, ValueType::Array(ColumnType::Text));
        let batches = world.execute(&planned, &[]).unwrap();
        assert!(batches[0].column(0).is_null(0), "{sql}");
    }
}
