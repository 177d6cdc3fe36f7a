use weir_model::{ColumnType, Value, ValueType};

use crate::world::{World, text};

fn world() -> World {
    let world = World::new();
    world.setup(
        "CREATE TABLE t (id integer PRIMARY KEY, owner text, n integer);
         CREATE TABLE pair (a text, b bigint, c text, PRIMARY KEY (a, b));
         INSERT INTO t VALUES (1, 'me', 0), (2, 'you', 5), (3, 'me', 7);
         INSERT INTO pair VALUES ('x', 1, 'x1'), ('x', 2, 'x2'), ('y', 1, 'y1')",
    );
    world
}

#[test]
fn key_equality_is_recognised() {
    let world = world();
    let check = |sql: &str, expected: bool| {
        let planned = world.plan(sql, &[]).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
        assert_eq!(planned.is_key_lookup(), expected, "{sql}");
    };
    check("SELECT * FROM t WHERE id = $1", true);
    check("SELECT n + 1 AS m, owner FROM t AS x WHERE x.id = 3 AND n > 2", true);
    check("SELECT n FROM t WHERE $1 = id LIMIT 1", true);
    check("SELECT c FROM pair WHERE a = $1 AND b = $2", true);
    check("SELECT c FROM pair WHERE a = $1", false);
    check("SELECT * FROM t WHERE id > $1", false);
    check("SELECT count(*) FROM t WHERE id = $1", false);
    check("SELECT * FROM t WHERE id = $1 OR n = 1", false);
    check("SELECT * FROM t WHERE n = $1", false);
    check("SELECT a.n FROM t a JOIN t b ON a.id = b.id WHERE a.id = $1", false);
}

/// Drivers choose the type of a number by its size, whatever the key's is.
#[test]
fn keys_of_another_integer_type_are_found() {
    let mut world = world();
    world.setup("CREATE TABLE big (id bigint PRIMARY KEY, n integer); INSERT INTO big VALUES (7, 70), (70000, 71)");
    for policy in ["", "CREATE POLICY few ON big USING (n < 71); CREATE POLICY few ON t USING (n < 7);"] {
        world.policies(policy);
        for (sql, column_type, value, expected) in [
            ("SELECT n FROM big WHERE id = $1", ColumnType::SmallInt, Value::SmallInt(7), Some("70")),
            ("SELECT n FROM big WHERE id = $1", ColumnType::Integer, Value::Integer(7), Some("70")),
            ("SELECT n FROM big WHERE id = $1", ColumnType::SmallInt, Value::SmallInt(8), None),
            ("SELECT n FROM big WHERE id = $1", ColumnType::SmallInt, Value::Null(None), None),
            ("SELECT n FROM t WHERE id = $1", ColumnType::SmallInt, Value::SmallInt(2), Some("5")),
            ("SELECT n FROM t WHERE id = $1", ColumnType::BigInt, Value::BigInt(2), Some("5")),
            ("SELECT n FROM t WHERE id = $1", ColumnType::BigInt, Value::BigInt(i64::MAX), None),
        ] {
            let planned = world.plan(sql, &[Some(ValueType::Scalar(column_type))]).unwrap();
            assert!(planned.is_key_lookup(), "{sql} with {column_type:?}\n{}", planned.canonical_text());
            let found = text(&planned, &world.execute(&planned, std::slice::from_ref(&value)).unwrap());
            assert_eq!(found, Vec::from_iter(expected), "{sql} {value:?}");
        }
    }
}

#[test]
fn lookups_answer_as_scans_do() {
    let mut world = world();
    for policy in ["", "CREATE POLICY mine ON t USING (owner = 'me');"] {
        world.policies(policy);
        for (sql, values) in [
            ("SELECT id, owner, n FROM t WHERE id = $1", vec![Value::Integer(1)]),
            ("SELECT id, owner, n FROM t WHERE id = $1", vec![Value::Integer(2)]),
            ("SELECT id, owner, n FROM t WHERE id = $1", vec![Value::Integer(9)]),
            ("SELECT id, owner, n FROM t WHERE id = $1", vec![Value::Null(None)]),
            ("SELECT n * 2, upper(owner) FROM t WHERE id = $1 AND n > $2", vec![Value::Integer(3), Value::Integer(6)]),
            ("SELECT n * 2, upper(owner) FROM t WHERE id = $1 AND n > $2", vec![Value::Integer(3), Value::Integer(7)]),
            ("SELECT 1 FROM t WHERE id = $1 AND owner = 'me'", vec![Value::Integer(3)]),
        ] {
            let planned = world.plan(sql, &[]).unwrap();
            assert!(planned.is_key_lookup(), "{sql}\n{}", planned.canonical_text());
            let found = text(&planned, &world.execute(&planned, &values).unwrap());
            // The same question in a form that is no lookup.
            let scan = sql.replace("id = $1", "id + 0 = $1");
            let planned = world.plan(&scan, &[]).unwrap();
            assert!(!planned.is_key_lookup(), "{scan}");
            assert_eq!(found, text(&planned, &world.execute(&planned, &values).unwrap()), "{sql} {values:?}");
        }
    }
    world.check("SELECT c FROM pair WHERE b = 1 AND a = 'y'", &["y1"]);
}

/// The hidden row's n is 5: no error, no row.
#[test]
fn a_hidden_row_raises_no_error() {
    let mut world = world();
    world.policies("CREATE POLICY mine ON t USING (owner = 'me');");
    world.check("SELECT 10 / (n - 5) FROM t WHERE id = 2", &[]);
    world.check("SELECT 1 FROM t WHERE id = 2 AND 10 / (n - 5) > 0", &[]);
}

#[test]
fn lookups_see_the_snapshot_they_run_on() {
    let world = world();
    let planned = world.plan("SELECT n FROM t WHERE id = $1", &[]).unwrap();
    let run = || text(&planned, &world.execute(&planned, &[Value::Integer(1)]).unwrap());
    assert_eq!(run(), ["0"]);
    world.changes("UPDATE t SET n = 42 WHERE id = 1", 1);
    assert_eq!(run(), ["42"]);
    world.changes("DELETE FROM t WHERE id = 1", 1);
    assert_eq!(run(), [] as [&str; 0]);
}

#[test]
fn changes_find_their_row_by_key() {
    let mut world = world();
    for sql in [
        "UPDATE t SET n = n + 1 WHERE id = $1",
        "UPDATE t AS x SET owner = $2 WHERE x.id = $1 AND n < 5",
        "DELETE FROM pair WHERE b = 1 AND a = $1",
    ] {
        let planned = world.plan(sql, &[]).unwrap();
        // It has an effect, so its intent is recorded before it runs.
        assert!(planned.finds_by_key() && !planned.is_key_lookup(), "{sql}");
    }
    world.policies("CREATE POLICY mine ON t USING (owner = 'me');");
    // Of somebody else, of nobody, and not as the statement wants it.
    for sql in ["UPDATE t SET n = 1 WHERE id = 2", "DELETE FROM t WHERE id = 9", "DELETE FROM t WHERE id = 3 AND n < 7"]
    {
        world.changes(sql, 0);
    }
    world.changes("UPDATE t SET n = n + 1, id = id + 10 WHERE id = 1", 1);
    world.changes("UPDATE t SET n = n + 1 WHERE id = 11", 1);
    world.changes("DELETE FROM t WHERE id = 3", 1);
    world.check("SELECT id, n FROM t", &["11|2"]);
}
