//! PostgreSQL's functions and operators.

use crate::world::World;

#[test]
fn session_and_system_functions() {
    let world = World::new();
    world.check(
        "SELECT current_user, session_user, current_database(), current_schema(), pg_backend_pid()",
        &["tester|tester|acme|public|4242"],
    );
    let version = world.rows("SELECT version()");
    assert!(version[0].starts_with("PostgreSQL 15"), "{version:?}");
    world.check("SELECT pg_catalog.current_database()", &["acme"]);
    world.check("SELECT length(gen_random_uuid()::text)", &["36"]);
}

#[test]
fn strings_numbers_and_dates() {
    let world = World::new();
    let check = |expression: &str, expected: &str| world.check(&format!("SELECT {expression}"), &[expected]);
    check("upper('a') || lower('B') || initcap('cd ef')", "AbCd Ef");
    check(
        "substring('hello' FROM 2 FOR 3), position('l' IN 'hello'), trim('  x '), replace('aXb', 'X', '-')",
        "ell|3|x|a-b",
    );
    check(
        "split_part('a,b,c', ',', 2), left('hello', 2), right('hello', 2), reverse('abc'), strpos('abc', 'c')",
        "b|he|lo|cba|3",
    );
    check("coalesce(NULL, 'x'), nullif(1, 1), greatest(1, 3, 2), least(1, 3, 2)", "x|NULL|3|1");
    check(
        "abs(-2), ceil(1.2), floor(1.8), round(1.255, 2), mod(7, 3), 2 ^ 10, sign(-3)",
        "2|2.0|1.0|1.26|1|1024.0|-1.0",
    );
    check("date_trunc('month', timestamp '2024-05-17 10:00:00')", "2024-05-01T00:00:00");
    check("extract(year FROM date '2024-05-17'), date_part('month', date '2024-05-17')", "2024|5.0");
    check(
        "date '2024-01-31' + interval '1 day', date '2024-01-31' + interval '1 hour'",
        "2024-02-01T00:00:00|2024-01-31T01:00:00",
    );
    check("timestamp '2024-01-01 10:00' + interval '90 minutes', 'yes'::boolean", "2024-01-01T11:30:00|true");
    check("to_char(timestamp '2024-05-07 14:03:09', 'YYYY-MM-DD HH24:MI:SS')", "2024-05-07 14:03:09");
    check(
        "'abc' LIKE 'a%', 'abc' ILIKE 'A%', 'abc' ~ '^a', 'abc' !~ 'z', 'a' BETWEEN 'a' AND 'b'",
        "true|true|true|true|true",
    );
    check("1 IS DISTINCT FROM NULL, NULL IS NOT DISTINCT FROM NULL", "true|true");
    check("'5'::int + 1, '1.5'::numeric(4,1), true::int, 3::text, '2024-01-01'::date", "6|1.5|1|3|2024-01-01");
    check("age(timestamp '2024-03-01', timestamp '2024-01-15')", "1 mons 17 days");
}

#[test]
fn aggregates_and_windows() {
    let world = World::new();
    world.setup("CREATE TABLE t (g text, n integer); INSERT INTO t VALUES ('a', 1), ('a', 2), ('b', 3), ('b', NULL)");
    world.check("SELECT g, string_agg(n::text, ',' ORDER BY n) FROM t GROUP BY g ORDER BY g", &["a|1,2", "b|3"]);
    world.check("SELECT g, array_agg(g ORDER BY n) FROM t GROUP BY g ORDER BY g", &["a|[a, a]", "b|[b, b]"]);
    world.check("SELECT array_agg(DISTINCT g) FROM t WHERE g = 'a'", &["[a]"]);
    world.check("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM t", &["2.0"]);
    world.check(
        "SELECT count(*) FILTER (WHERE n > 1), count(n), count(DISTINCT g), bool_and(n > 0), every(n > 1) FROM t",
        &["2|3|2|true|false"],
    );
    world.check(
        "SELECT g, n, sum(n) OVER (ORDER BY n NULLS LAST), lag(n) OVER (ORDER BY n NULLS LAST) FROM t ORDER BY n",
        &["a|1|1|NULL", "a|2|3|1", "b|3|6|2", "b|NULL|6|3"],
    );
    world.check("SELECT avg(n), stddev(n) FROM t", &["2.0000000000000000|1.0"]);
    world.check(
        "SELECT g, grouping(g), count(*) FROM t GROUP BY ROLLUP (g) ORDER BY g",
        &["a|0|2", "b|0|2", "NULL|1|4"],
    );
}

#[test]
fn series_are_tables() {
    let world = World::new();
    world.check("SELECT * FROM generate_series(1, 3)", &["1", "2", "3"]);
    world.check("SELECT s.n * 2 FROM generate_series(5, 1, -2) AS s(n) ORDER BY 1", &["2", "6", "10"]);
    world.check("SELECT x FROM unnest(ARRAY[3, 1, 2]) AS u(x) ORDER BY x", &["1", "2", "3"]);
}

#[test]
fn quotients_and_averages_of_numerics_keep_their_digits() {
    let world = World::new();
    let check = |expression: &str| world.check(&format!("SELECT {expression}"), &["true"]);
    check("1.0 / 3 > 0.333333333333333 AND 1.0 / 3 < 0.333333333333334");
    check("7 / (1.0 / 3) > 20.99999999999 AND 7 / (1.0 / 3) < 21.00000000001");
    check("(SELECT avg(x) FROM (VALUES (1.00), (1.00), (0.00)) t(x)) BETWEEN 0.66666666 AND 0.66666667");
    check("7 / 2 = 3");
}

#[test]
fn whole_numbers_that_do_not_fit_are_an_error() {
    let world = World::new();
    for expression in [
        "9223372036854775807::bigint + 1::bigint",
        "2147483647::int + 1::int",
        "(-32768)::smallint - 1::smallint",
        "3000000000::bigint * 4000000000::bigint",
    ] {
        world.refused(&format!("SELECT {expression}"), weir_model::Code::NumericOutOfRange);
    }
    world.check("SELECT 2 + 3 * 4 - 5", &["9"]);
}
