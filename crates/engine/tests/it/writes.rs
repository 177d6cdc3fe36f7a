use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use weir_model::{Code, Value};

use crate::world::{World, name};

fn world() -> World {
    let world = World::new();
    world.setup(
        "CREATE TABLE t (id bigint PRIMARY KEY, label varchar(5), n smallint NOT NULL DEFAULT 7,
             price numeric(6,2), at timestamp, ref uuid DEFAULT gen_random_uuid(), doc jsonb, flag boolean);
         CREATE TABLE src (id bigint PRIMARY KEY, word text, big bigint);
         INSERT INTO src VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 100000)",
    );
    world
}

#[test]
fn insert_takes_values_defaults_and_columns() {
    let world = world();
    world.changes("INSERT INTO t (id, label) VALUES (1, 'a'), (2, NULL)", 2);
    world.check("SELECT id, label, n, price FROM t ORDER BY id", &["1|a|7|NULL", "2|NULL|7|NULL"]);
    world.changes("INSERT INTO t (price, id, n) VALUES (1.005, 3, DEFAULT), (-2, 4, 1 + 1)", 2);
    world.check("SELECT id, n, price FROM t WHERE id > 2 ORDER BY id", &["3|7|1.01", "4|2|-2.00"]);
    world.check("SELECT count(DISTINCT ref) FROM t", &["4"]);
    world.changes("INSERT INTO t VALUES (5, 'x', 1, '3.5', '2024-01-02 03:04:05', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{}', 'yes')", 1);
    world.check(
        "SELECT price, at, ref, doc, flag FROM t WHERE id = 5",
        &["3.50|2024-01-02T03:04:05|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|{}|true"],
    );
    world.changes("INSERT INTO t (id, label, n) SELECT id + 10, word, big FROM src WHERE id < 3", 2);
    world.check("SELECT label, n FROM t WHERE id > 10 ORDER BY id", &["one|1", "two|2"]);
    world.changes("INSERT INTO t (id) SELECT 20", 1);
    world.changes("INSERT INTO t (id, n) SELECT * FROM (VALUES (21, 1), (22, 2)) v", 2);
}

#[test]
fn insert_errors_are_postgresql_s() {
    let world = world();
    world.refused("INSERT INTO t (id, label) VALUES (1, 'toolong')", Code::StringTooLong);
    world.refused("INSERT INTO t (id, n) VALUES (1, 40000)", Code::NumericOutOfRange);
    world.refused("INSERT INTO t (id, price) VALUES (1, 99999)", Code::NumericOutOfRange);
    world.refused("INSERT INTO t (id, n) VALUES (1, 'abc')", Code::InvalidTextRepresentation);
    world.refused("INSERT INTO t (id, at) VALUES (1, 'not a time')", Code::InvalidDatetime);
    world.refused("INSERT INTO t (id, flag) VALUES (1, 5)", Code::DatatypeMismatch);
    world.refused("INSERT INTO t (id, n) VALUES (1, true)", Code::DatatypeMismatch);
    world.refused("INSERT INTO t (id, n) SELECT id, word FROM src", Code::DatatypeMismatch);
    world.refused("INSERT INTO t (id, n) SELECT id, big FROM src", Code::NumericOutOfRange);
    world.refused(
        "INSERT INTO t (id, label) SELECT id, word FROM src WHERE id = 3 UNION ALL SELECT 9, 'abcdefg'",
        Code::StringTooLong,
    );
    world.refused("INSERT INTO t (id, n) VALUES (1, NULL)", Code::NotNullViolation);
    world.refused("INSERT INTO t (label) VALUES ('a')", Code::NotNullViolation);
    world.refused("INSERT INTO t (id) VALUES (1), (1)", Code::UniqueViolation);
    world.refused("INSERT INTO t (id, nothing) VALUES (1, 2)", Code::UndefinedColumn);
    world.refused("INSERT INTO t (id, id) VALUES (1, 2)", Code::DuplicateColumn);
    world.refused("INSERT INTO t (id) VALUES (1, 2)", Code::SyntaxError);
    world.refused("INSERT INTO t (id, n) VALUES (1)", Code::SyntaxError);
    world.refused("INSERT INTO t (id, n) VALUES (1, 1 / 0)", Code::DivisionByZero);
    world.refused("INSERT INTO nowhere VALUES (1)", Code::UndefinedTable);
    world.check("SELECT count(*) FROM t", &["0"]);
}

#[test]
fn update_changes_what_it_finds() {
    let world = world();
    world.setup("INSERT INTO t (id, label, n) VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)");
    world.changes("UPDATE t SET n = n + 1, label = upper(label) WHERE id >= 2", 2);
    world.check("SELECT id, label, n FROM t ORDER BY id", &["1|a|1", "2|B|3", "3|C|4"]);
    world.changes("UPDATE t SET n = DEFAULT", 3);
    world.changes("UPDATE t AS x SET label = x.label || 'z' WHERE x.id = (SELECT max(id) FROM t)", 1);
    world.check("SELECT id, label, n FROM t ORDER BY id", &["1|a|7", "2|B|7", "3|Cz|7"]);
    world.changes("UPDATE t SET id = id + 1", 3);
    world.check("SELECT id, label FROM t ORDER BY id", &["2|a", "3|B", "4|Cz"]);
    world.refused("UPDATE t SET id = 2", Code::UniqueViolation);
    world.refused("UPDATE t SET n = NULL", Code::NotNullViolation);
    world.refused("UPDATE t SET label = 'far too long'", Code::StringTooLong);
    world.refused("UPDATE t SET n = 1, n = 2", Code::SyntaxError);
    world.refused("UPDATE t SET n = word FROM src", Code::Unsupported);
    world.refused("UPDATE t SET n = label", Code::DatatypeMismatch);
    world.refused("UPDATE t SET nothing = 1", Code::UndefinedColumn);
    world.changes("UPDATE t SET price = '12.345' WHERE id = 2", 1);
    world.check("SELECT price FROM t WHERE id = 2", &["12.35"]);
}

/// The shapes in which DataFusion's own DELETE and UPDATE change every row.
#[test]
fn writes_with_subqueries_change_only_their_rows() {
    let world = world();
    let fill = "INSERT INTO t (id, n) VALUES (1, 1), (2, 2), (3, 3), (4, 4)";
    world.setup(fill);
    world.changes("UPDATE t SET n = 9 WHERE id IN (SELECT id FROM src WHERE word = 'two')", 1);
    world.changes("UPDATE t SET n = 8 WHERE EXISTS (SELECT 1 FROM src WHERE src.id = t.id AND src.id = 3)", 1);
    world.changes("UPDATE t SET n = 7 WHERE false", 0);
    world.changes("UPDATE t SET n = 7 WHERE 1 = 2", 0);
    world.changes("UPDATE t SET n = 7 WHERE id > 100", 0);
    world.check("SELECT n FROM t ORDER BY id", &["1", "9", "8", "4"]);
    world.changes("DELETE FROM t WHERE false", 0);
    world.changes("DELETE FROM t WHERE id IN (SELECT id FROM src WHERE word = 'none')", 0);
    world.changes("DELETE FROM t WHERE NOT EXISTS (SELECT 1 FROM src WHERE src.id = t.id)", 1);
    world.changes("DELETE FROM t AS x WHERE x.id = 2 OR x.id IN (SELECT max(id) FROM src)", 2);
    world.check("SELECT id FROM t", &["1"]);
    world.changes("DELETE FROM t", 1);
    world.refused("DELETE FROM t WHERE id = 1 LIMIT 1", Code::Unsupported);
}

#[test]
fn policies_govern_writes() {
    let mut world = world();
    world.setup("INSERT INTO src VALUES (4, 'mine', 1), (5, 'mine', 2)");
    world.policies(
        "CREATE POLICY see ON src FOR SELECT USING (word <> 'one');
         CREATE POLICY change ON src FOR UPDATE USING (word = 'mine' OR word = 'one') WITH CHECK (big < 10);
         CREATE POLICY remove ON src FOR DELETE USING (word = 'mine' OR word = 'one');
         CREATE POLICY add ON src FOR INSERT WITH CHECK (word = 'mine');",
    );
    // Rows must pass the command's policy, and with a WHERE the SELECT policy too, whatever the alias.
    world.changes("UPDATE src SET big = 5 WHERE id > 0", 2);
    world.changes("UPDATE src AS s SET big = 6 WHERE s.id < 5", 1);
    world.changes("UPDATE src SET big = 6", 3);
    let refusal = world.refused("UPDATE src SET big = 11 WHERE id = 4", Code::RowCheckViolation);
    assert_eq!(refusal.message(), "new row violates row-level security policy for table \"src\"");
    // A row may not be put out of the writer's own sight.
    world.refused("UPDATE src SET word = 'one' WHERE id = 4", Code::RowCheckViolation);
    world.refused("INSERT INTO src VALUES (6, 'yours', 1)", Code::RowCheckViolation);
    world.refused("INSERT INTO src VALUES (6, NULL, 1)", Code::RowCheckViolation);
    world.refused("INSERT INTO src SELECT id + 10, word, 1 FROM src", Code::RowCheckViolation);
    world.changes("INSERT INTO src VALUES (6, 'mine', 1)", 1);
    world.changes("DELETE FROM src WHERE id IN (1, 2, 4)", 1);
    world.changes("DELETE FROM src", 3);
}

#[test]
fn copy_targets_fill_in_and_check() {
    let mut world = world();
    let snapshot = world.snapshot();
    let governance = world.governance(&snapshot.version);
    let columns = ["label".to_owned(), "id".to_owned()];
    let target = world.session.copy_target(&name("t"), &columns, &snapshot, &governance).unwrap();
    assert_eq!(target.columns().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["label", "id"]);
    let arrays: Vec<ArrayRef> =
        vec![Arc::new(StringViewArray::from(vec![Some("a"), None])), Arc::new(Int64Array::from(vec![1, 2]))];
    let batch = RecordBatch::try_from_iter([("label", arrays[0].clone()), ("id", arrays[1].clone())]).unwrap();
    let mut transaction = world.database.begin();
    assert_eq!(target.insert(&mut transaction, &batch).unwrap(), 2);
    world.database.commit_blocking(transaction).unwrap();
    world.check("SELECT id, label, n FROM t ORDER BY id", &["1|a|7", "2|NULL|7"]);
    world.policies("CREATE POLICY p ON t FOR INSERT WITH CHECK (id > 10);");
    let governance = world.governance(&snapshot.version);
    let target = world.session.copy_target(&name("t"), &columns, &snapshot, &governance).unwrap();
    let mut transaction = world.database.begin();
    assert_eq!(target.insert(&mut transaction, &batch).unwrap_err().code(), Code::RowCheckViolation);
}

#[test]
fn prepared_writes_take_parameters() {
    let world = world();
    let insert = world.plan("INSERT INTO t (id, label, n, price) VALUES ($1, $2, $3, $4)", &[]).unwrap();
    let types: Vec<String> = insert.parameters().iter().map(ToString::to_string).collect();
    assert_eq!(types, ["bigint", "text", "smallint", "numeric(38,10)"]);
    let values = |id: i64, label: &str| {
        [
            Value::BigInt(id),
            Value::Text(label.into()),
            Value::SmallInt(3),
            Value::Numeric { unscaled: 12345, precision: 5, scale: 3 },
        ]
    };
    assert_eq!(world.write(&insert, &values(1, "a")).unwrap(), 1);
    assert_eq!(world.write(&insert, &values(2, "b")).unwrap(), 1);
    assert_eq!(world.write(&insert, &values(3, "far too long")).unwrap_err().code(), Code::StringTooLong);
    let update = world.plan("UPDATE t SET n = $1 WHERE id = $2", &[]).unwrap();
    let types: Vec<String> = update.parameters().iter().map(ToString::to_string).collect();
    assert_eq!(types, ["smallint", "bigint"]);
    assert_eq!(world.write(&update, &[Value::SmallInt(9), Value::BigInt(2)]).unwrap(), 1);
    world.check("SELECT id, label, n, price FROM t ORDER BY id", &["1|a|3|12.35", "2|b|9|12.35"]);
    let delete = world.plan("DELETE FROM t WHERE label = $1", &[]).unwrap();
    assert_eq!(world.write(&delete, &[Value::Text("a".into())]).unwrap(), 1);
    assert_eq!(world.write(&delete, &[Value::Text("a".into())]).unwrap(), 0);
}
