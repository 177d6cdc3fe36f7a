//! What a row policy hides stays hidden.

use weir_model::{Code, Value};
use weir_policy::{MaskKind, MaskPredicates};

use crate::world::World;

/// Ten rows, odd ones visible; the even ones hold a zero that divides.
fn world() -> World {
    let mut world = World::new();
    world.setup(
        "CREATE TABLE t (id bigint PRIMARY KEY, owner text, n integer, secret text);
         CREATE TABLE plain (id bigint PRIMARY KEY, n integer);
         CREATE VIEW v AS SELECT id, n FROM t",
    );
    for id in 0..10 {
        let owner = if id % 2 == 1 { "me" } else { "you" };
        world.setup(&format!(
            "INSERT INTO t VALUES ({id}, '{owner}', {}, 's{id}'); INSERT INTO plain VALUES ({id}, {id})",
            id % 2 * id
        ));
    }
    world.policies("CREATE POLICY mine ON t USING (owner = 'me');");
    world
}

#[test]
fn every_way_to_the_rows_is_filtered() {
    let world = world();
    let visible = &["1", "3", "5", "7", "9"];
    for sql in [
        "SELECT id FROM t ORDER BY id",
        "SELECT x.id FROM t AS x ORDER BY x.id",
        "SELECT id FROM public.t ORDER BY id",
        "SELECT id FROM v ORDER BY id",
        "SELECT id FROM (SELECT * FROM t) AS s ORDER BY id",
        "WITH c AS (SELECT * FROM t) SELECT id FROM c ORDER BY id",
        "SELECT id FROM t UNION SELECT id FROM t ORDER BY id",
        "SELECT id FROM t INTERSECT SELECT id FROM plain ORDER BY id",
        "SELECT a.id FROM t a JOIN t b ON a.id = b.id ORDER BY a.id",
        "SELECT p.id FROM plain p WHERE p.id IN (SELECT id FROM t) ORDER BY p.id",
        "SELECT p.id FROM plain p WHERE EXISTS (SELECT 1 FROM t WHERE t.id = p.id) ORDER BY p.id",
        "SELECT p.id FROM plain p JOIN LATERAL (SELECT id FROM t WHERE t.id = p.id) l ON true ORDER BY p.id",
        "SELECT id FROM t WHERE owner = 'you' OR owner = 'me' ORDER BY id",
        "SELECT id FROM t GROUP BY id ORDER BY id",
    ] {
        world.check(sql, visible);
    }
    world.check("SELECT id FROM t WHERE owner = 'you'", &[]);
    world.check("SELECT id FROM t WHERE id = 2", &[]);
    world.check("SELECT id FROM t WHERE id = 3", &["3"]);
    world.check(
        "SELECT p.id FROM plain p LEFT JOIN t ON t.id = p.id WHERE t.id IS NULL ORDER BY p.id",
        &["0", "2", "4", "6", "8"],
    );
}

#[test]
fn statistics_tell_nothing_of_hidden_rows() {
    let world = world();
    world.check("SELECT count(*), min(id), max(id), min(n) FROM t", &["5|1|9|1"]);
    world.check("SELECT count(*) FROM t WHERE id < 5", &["2"]);
    world.check("SELECT count(*) FROM plain", &["10"]);
}

#[test]
fn errors_tell_nothing_of_hidden_rows() {
    let world = world();
    // Hidden rows have n = 0.
    world.check("SELECT count(*) FROM t WHERE 10 / n > 0", &["5"]);
    world.check("SELECT sum(10 / n) FROM t", &["17"]);
    world.check("SELECT id FROM t WHERE 10 / n > 2 AND owner <> 'x' ORDER BY id", &["1", "3"]);
    world.check("SELECT p.id FROM plain p JOIN t ON t.id = p.id AND 10 / t.n > 2 ORDER BY p.id", &["1", "3"]);
    world.check("SELECT count(*) FROM v WHERE 10 / n > 0", &["5"]);
    world.refused("SELECT count(*) FROM t WHERE 10 / (n - 3) > 0", Code::DivisionByZero);
    // Hidden secrets do not read as numbers; neither do visible ones, but those the reader may see.
    world.check("SELECT count(*) FROM t WHERE id > 100 AND secret::int > 0", &["0"]);
}

#[test]
fn no_policy_means_no_rows() {
    let mut world = World::new();
    world.setup("CREATE TABLE t (id bigint PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
    world.policies("CREATE POLICY others ON t FOR SELECT TO auditor USING (true);");
    world.check("SELECT count(*) FROM t", &["0"]);
    world.check("SELECT id FROM t WHERE id = 1", &[]);
}

#[test]
fn masks_hold_for_key_lookups_and_writes() {
    let mut world = world();
    world.mask("public.t", "secret", MaskKind::Redact, MaskPredicates::Refuse);
    world.check_with("SELECT secret FROM t WHERE id = $1", &[Value::BigInt(3)], &["***REDACTED***"]);
    world.check("SELECT secret, upper(secret) FROM t WHERE id = 3", &["***REDACTED***|***REDACTED***"]);
    world.refused("SELECT id FROM t WHERE secret = 's3'", Code::MaskedPredicate);
    world.setup("CREATE TABLE copy AS SELECT id, secret FROM t");
    world.check("SELECT DISTINCT secret FROM copy", &["***REDACTED***"]);
    world.setup("CREATE TABLE sink (id bigint, secret text)");
    world.changes("INSERT INTO sink SELECT id, secret FROM t", 5);
    world.check("SELECT DISTINCT secret FROM sink", &["***REDACTED***"]);
    // What is not assigned keeps its stored value; what is copied is masked.
    world.changes("UPDATE t SET owner = 'me' WHERE id = 3", 1);
    world.changes("UPDATE t SET owner = 'me', n = 5, secret = secret WHERE id = 5", 1);
    world.clear_masks();
    world.check("SELECT secret FROM t WHERE id IN (3, 5) ORDER BY id", &["s3", "***REDACTED***"]);
}

#[test]
fn errors_over_masked_columns_hold_no_values() {
    let mut world = world();
    world.mask("public.t", "secret", MaskKind::Redact, MaskPredicates::Any);
    let refusal = world.refused("SELECT owner::int FROM t", Code::InvalidTextRepresentation);
    assert!(!refusal.message().contains("me"), "{refusal:?}");
}

/// A view over a governed table, a CTE that takes the table's name, a table read through both at once.
#[test]
fn names_that_hide_a_table_do_not_open_it() {
    let world = world();
    world.check("WITH t AS (SELECT id FROM t WHERE n < 100) SELECT count(*) FROM t", &["5"]);
    world.check("WITH plain AS (SELECT * FROM t) SELECT count(*) FROM plain", &["5"]);
    world.check("SELECT count(*) FROM t AS plain", &["5"]);
    world.check("SELECT count(*) FROM v JOIN t USING (id)", &["5"]);
    world.check("WITH RECURSIVE r AS (SELECT min(id) AS id FROM t UNION ALL SELECT t.id FROM t JOIN r ON t.id = r.id + 2) SELECT count(*) FROM r", &["5"]);
}

#[test]
fn a_policy_of_several_parts_is_postgresql_s() {
    let mut world = World::new();
    world.setup("CREATE TABLE t (id bigint PRIMARY KEY, a text, b integer)");
    world.setup("INSERT INTO t VALUES (1, 'x', 1), (2, 'x', 9), (3, 'y', 1), (4, 'z', 1), (5, NULL, NULL)");
    world.policies(
        "CREATE POLICY p1 ON t FOR SELECT USING (a = 'x');
         CREATE POLICY p2 ON t FOR SELECT USING (a = 'y');
         CREATE POLICY r1 ON t AS RESTRICTIVE FOR SELECT USING (b < 5);",
    );
    world.check("SELECT id FROM t ORDER BY id", &["1", "3"]);
    world.check("SELECT id FROM t WHERE b = 1 AND id > 1", &["3"]);
}
