//! Where DataFusion means something else than PostgreSQL. `tests/postgres` asks both servers far more.

use weir_model::Code;

use crate::world::World;

#[test]
fn casts_round_and_stay_in_range() {
    let world = World::new();
    let check = |expression: &str, expected: &str| world.check(&format!("SELECT {expression}"), &[expected]);
    check("2.5::int, -2.5::int, 2.5::float8::int, 3.5::float8::int", "3|-3|2|4");
    check("1.005::numeric(10,2), 1.005::float8::numeric(10,2), 0.1::real::numeric(10,2)", "1.01|1.01|0.10");
    check(
        "1e20::float8::text, timestamp '2024-01-01 10:00'::text, 'abcdef'::varchar(3)",
        "1e+20|2024-01-01 10:00:00|abc",
    );
    for expression in ["2147483647.5::int", "'NaN'::float8::int", "1e300::float8::real", "40000::smallint"] {
        world.refused(&format!("SELECT {expression}"), Code::NumericOutOfRange);
    }
    world.refused("SELECT date '2024-01-01'::int", Code::CannotCoerce);
    world.refused("SELECT 'a'::text = 1", Code::UndefinedFunction);
}

#[test]
fn casts_of_columns_read_text_as_literals_are_read() {
    let world = World::new();
    world.setup("CREATE TABLE t (a text); INSERT INTO t VALUES ('24:00:00'), ('1 mon')");
    world.check("SELECT a::interval > interval '25 hours' FROM t ORDER BY a", &["true", "false"]);
    world.refused("SELECT a::int FROM t", Code::InvalidTextRepresentation);
}

#[test]
fn subqueries_without_rows_are_null() {
    let world = World::new();
    world.setup(
        "CREATE TABLE t (id int PRIMARY KEY, k int NOT NULL); CREATE TABLE u (k int NOT NULL, v int NOT NULL);
         INSERT INTO t VALUES (1, 1), (2, 2); INSERT INTO u VALUES (1, 10), (1, 11)",
    );
    world.check("SELECT (SELECT 1 WHERE false), (SELECT v FROM u WHERE k = 9)", &["NULL|NULL"]);
    world.check("SELECT id FROM t WHERE k = (SELECT v FROM u WHERE k = 9)", &[]);
    world.check("SELECT id, (SELECT max(v) FROM u WHERE u.k = t.k) FROM t ORDER BY id", &["1|11", "2|NULL"]);
    world.check("SELECT coalesce((SELECT k FROM t WHERE id = 9), 7)", &["7"]);
    world.refused("SELECT (SELECT v FROM u)", Code::CardinalityViolation);
}

#[test]
fn numbers_do_not_wrap() {
    let world = World::new();
    world.setup(
        "CREATE TABLE t (n bigint, i int, f float8);
         INSERT INTO t VALUES (9223372036854775807, 1, 1e300), (9223372036854775807, 2, 1e300)",
    );
    world.check("SELECT sum(n), sum(i), avg(i) FROM t", &["18446744073709551614|3|1.5000000000000000"]);
    world.check("SELECT sum(n) OVER () FROM t LIMIT 1", &["18446744073709551614"]);
    for (expression, code) in [
        ("f * f", Code::NumericOutOfRange),
        ("f / 0", Code::DivisionByZero),
        ("-(-2147483647 - i)", Code::NumericOutOfRange),
        ("1 / (i - i)", Code::DivisionByZero),
        ("exp(f)", Code::NumericOutOfRange),
    ] {
        world.refused(&format!("SELECT {expression} FROM t"), code);
    }
}

#[test]
fn intervals_are_what_they_are_worth() {
    let world = World::new();
    world.setup(
        "CREATE TABLE t (id int, i interval);
         INSERT INTO t VALUES (1, '1 month'), (2, '30 days'), (3, '720:00:00'), (4, '29 days'), (5, NULL)",
    );
    world.check("SELECT count(*), count(DISTINCT i) FROM t", &["5|2"]);
    world.check("SELECT count(*) FROM t GROUP BY i ORDER BY 1", &["1", "1", "3"]);
    world.check("SELECT id FROM t WHERE i = interval '1 month' ORDER BY id", &["1", "2", "3"]);
    world.check("SELECT id FROM t ORDER BY i, id", &["4", "1", "2", "3", "5"]);
    world.check("SELECT a.id FROM t a JOIN t b ON a.i = b.i AND a.id < b.id ORDER BY 1", &["1", "1", "2"]);
    world.check("SELECT count(*) FROM (SELECT DISTINCT i FROM t) q", &["3"]);
    world.check("SELECT id FROM t WHERE i = (SELECT min(i) FROM t)", &["4"]);
}

#[test]
fn the_session_s_zone_is_where_clocks_are_read() {
    let world = World::new();
    world.setup("CREATE TABLE t (at timestamptz)");
    world.session.set_setting("timezone", Some("America/New_York"));
    world.setup("INSERT INTO t VALUES ('2024-07-01 00:30')");
    world.check("SELECT extract(hour FROM at), at::date, at::text FROM t", &["0|2024-07-01|2024-07-01 00:30:00-04"]);
    world.check("SELECT count(*) FROM t WHERE at >= '2024-07-01' AND at < '2024-07-02'", &["1"]);
    world.check("SELECT date_trunc('day', at) AT TIME ZONE 'UTC' FROM t", &["2024-07-01T04:00:00"]);
    world.session.set_setting("timezone", Some("UTC"));
    world.check("SELECT extract(hour FROM at), at::date FROM t", &["4|2024-07-01"]);
    world.session.set_setting("timezone", Some("Pacific/Honolulu"));
    world.check("SELECT count(*) FROM t WHERE at >= '2024-07-01'", &["0"]);
}

#[test]
fn a_policy_reads_its_clocks_in_utc() {
    let mut world = World::new();
    world.setup("CREATE TABLE t (id int, at timestamptz); INSERT INTO t VALUES (1, '2024-06-30 23:00+00'), (2, '2024-07-01 01:00+00')");
    world.policies("CREATE POLICY recent ON public.t FOR SELECT TO analyst USING (at >= '2024-07-01');");
    for zone in ["UTC", "Pacific/Honolulu", "Asia/Tokyo"] {
        world.session.set_setting("timezone", Some(zone));
        world.check("SELECT id FROM t ORDER BY id", &["2"]);
    }
}

#[test]
fn times_far_away_have_their_functions() {
    let world = World::new();
    let check = |expression: &str, expected: &str| world.check(&format!("SELECT {expression}"), &[expected]);
    check(
        "extract(year FROM timestamp '1500-06-15'), date_trunc('century', timestamp '9999-12-31')::text",
        "1500|9901-01-01 00:00:00",
    );
    check(
        "(timestamp '1500-01-31' + interval '1 month')::date, timestamp '9999-12-31' > timestamp '1500-01-01'",
        "1500-02-28|true",
    );
    check("to_char(timestamp '9999-12-31 23:59:59', 'YYYY-MM-DD HH24:MI:SS')", "9999-12-31 23:59:59");
}

#[test]
fn views_keep_the_types_they_were_made_with() {
    let world = World::new();
    world.setup(
        "CREATE TABLE t (n bigint, i int, at timestamptz);
         INSERT INTO t VALUES (9223372036854775807, 1, '2024-07-01 00:30+00'), (1, 2, NULL);
         CREATE VIEW v AS SELECT sum(n) AS s, avg(i) AS a, count(*) + 1 AS c, max(extract(year FROM at)) AS y,
             sum(CASE WHEN i > 1 THEN 1 ELSE 0 END) AS k, max(at + interval '1 day') AS d FROM t;
         CREATE VIEW w AS SELECT 'x' AS t, 1 AS one UNION SELECT 'y', i FROM t",
    );
    world.check("SELECT s, c, y, k, d FROM v", &["9223372036854775808|3|2024|1|2024-07-02T00:30:00Z"]);
    world.check("SELECT t, one + 1 FROM w ORDER BY 1, 2", &["x|2", "y|2", "y|3"]);
    world.check("SELECT (SELECT count(*) FROM t WHERE t.i = w.one) FROM w ORDER BY 1", &["1", "1", "1"]);
}

#[test]
fn rows_are_counted_in_all_operations() {
    let world = World::new();
    world.setup(
        "CREATE TABLE a (k int); CREATE TABLE b (k int);
         INSERT INTO a VALUES (1), (1), (1), (2), (NULL), (NULL); INSERT INTO b VALUES (1), (3), (NULL)",
    );
    world.check("SELECT k FROM a EXCEPT ALL SELECT k FROM b ORDER BY k", &["1", "1", "2", "NULL"]);
    world.check("SELECT k FROM a INTERSECT ALL SELECT k FROM b ORDER BY k", &["1", "NULL"]);
    world.check("SELECT k FROM a INTERSECT ALL SELECT k FROM a ORDER BY k", &["1", "1", "1", "2", "NULL", "NULL"]);
    world.check("SELECT k, count(*) FROM a RIGHT JOIN b USING (k) GROUP BY k ORDER BY k", &["1|3", "3|1", "NULL|1"]);
}

#[test]
fn patterns_paths_and_rows() {
    let world = World::new();
    let check = |expression: &str, expected: &str| world.check(&format!("SELECT {expression}"), &[expected]);
    check("'a%c' LIKE 'a!%c' ESCAPE '!', 'abc' LIKE 'a!%c' ESCAPE '!', 'abc' SIMILAR TO '(a|x)b_'", "true|false|true");
    check("'{\"a\": {\"b\": [1, \"x\"]}}'::json -> 'a' -> 'b' ->> 1", "x");
    check("'{\"a\": {\"b\": [1, \"x\"]}}'::json #>> '{a,b,1}'", "x");
    check(
        "(1, 2) < (1, 3), (1, NULL) = (2, NULL), (1, NULL) = (1, NULL), (1, 2) IN ((3, 4), (1, 2))",
        "true|false|NULL|true",
    );
    check("to_date('05 Dec 2000', 'DD Mon YYYY'), to_number('12,454.8-', '99G999D9S')", "2000-12-05|-12454.8000000000");
}
