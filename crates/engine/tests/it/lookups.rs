use weir_model::Value;

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
