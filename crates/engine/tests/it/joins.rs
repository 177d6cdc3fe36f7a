//! Joins give the rows they gave before their keys were told to the scans below.

use crate::world::World;

/// More rows than a scan must have to be told of keys, in several units; a few of other tables join them.
fn world() -> World {
    let mut world = World::new();
    world.setup(
        "CREATE TABLE wide AS SELECT i AS id, i % 1000 AS k, CASE WHEN i % 7 = 0 THEN NULL ELSE i % 500 END AS n,
             i % 3 AS shown FROM generate_series(0, 149999) AS g(i);
         CREATE TABLE few AS SELECT i * 100 AS k, i AS v, CASE WHEN i = 3 THEN NULL ELSE i * 10 END AS n
             FROM generate_series(0, 12) AS g(i);
         CREATE TABLE far AS SELECT i::bigint * 1000000007 AS k, i AS v FROM generate_series(0, 40) AS g(i);
         CREATE TABLE none AS SELECT i AS k, i AS v FROM generate_series(1, 0) AS g(i)",
    );
    world.policies("CREATE POLICY shown ON wide USING (shown < 2); CREATE POLICY all_few ON few USING (true);");
    world.policies("CREATE POLICY all_far ON far USING (true); CREATE POLICY all_none ON none USING (true);");
    world
}

/// `{=}` joins by a column, or by an expression of it: then no key is gathered.
#[test]
fn keys_change_no_answer() {
    let world = world();
    for sql in [
        "SELECT count(*), sum(w.id), sum(f.v) FROM wide w JOIN few f ON w.k {=} f.k",
        "SELECT count(*), sum(w.id) FROM wide w JOIN few f ON w.k {=} f.k WHERE f.v > 5 AND w.id % 2 = 0",
        "SELECT count(*), sum(w.id), count(f.v) FROM wide w LEFT JOIN few f ON w.k {=} f.k",
        "SELECT count(*), count(w.id), sum(f.v) FROM few f LEFT JOIN wide w ON w.k {=} f.k",
        "SELECT count(*), count(w.id), sum(f.v) FROM few f FULL JOIN wide w ON w.k {=} f.k",
        "SELECT count(*), sum(w.id) FROM wide w JOIN few f ON w.n {=} f.n",
        "SELECT count(*), sum(w.id) FROM wide w JOIN far f ON w.id {=} f.k",
        "SELECT count(*), sum(w.id) FROM wide w JOIN none f ON w.id {=} f.k",
        "SELECT count(*), sum(w.id) FROM wide w WHERE EXISTS (SELECT 1 FROM few f WHERE w.k {=} f.k)",
        "SELECT count(*), sum(w.id) FROM wide w WHERE NOT EXISTS (SELECT 1 FROM few f WHERE w.k {=} f.k)",
        "SELECT count(*), sum(f.v) FROM few f WHERE EXISTS (SELECT 1 FROM wide w WHERE w.k {=} f.k AND w.id <> f.v)",
        "SELECT count(*), sum(f.v) FROM few f WHERE NOT EXISTS (SELECT 1 FROM wide w WHERE w.n {=} f.n)",
        "SELECT count(*), sum(a.id), sum(b.id) FROM few f JOIN wide a ON a.k {=} f.k JOIN wide b ON b.id {=} a.id",
        "SELECT count(*), sum(a.id), count(b.id) FROM few f JOIN
             (SELECT a.id, a.k FROM wide a LEFT JOIN wide b ON b.id {=} a.id + 1) a ON a.k {=} f.k
             LEFT JOIN wide b ON b.id {=} a.id",
        "SELECT count(*), sum(b.id), count(a.id) FROM few f JOIN
             (SELECT a.id, b.k, b.id AS bid FROM wide a RIGHT JOIN wide b ON b.id {=} a.id) a ON a.k {=} f.k
             JOIN wide b ON b.id {=} a.bid",
        "SELECT count(*), sum(s) FROM few f JOIN (SELECT k, sum(id) AS s FROM wide GROUP BY k) w ON w.k {=} f.k",
        "SELECT count(*), sum(c) FROM few f JOIN (SELECT n, count(*) AS c FROM wide GROUP BY n) w ON w.n {=} f.n",
        "SELECT count(*), sum(c) FROM few f JOIN
             (SELECT k, n, count(*) AS c FROM wide GROUP BY ROLLUP (k, n)) w ON w.k {=} f.k",
        "SELECT count(*), sum(w.id) FROM few f JOIN (SELECT id, k FROM wide ORDER BY id LIMIT 777) w ON w.k {=} f.k",
        "SELECT count(*), sum(r) FROM few f JOIN
             (SELECT k, row_number() OVER (ORDER BY id) AS r FROM wide) w ON w.k {=} f.k",
        "SELECT count(*), sum(w.x) FROM few f JOIN (SELECT k, id AS x FROM wide UNION ALL SELECT k, v FROM few) w
             ON w.k {=} f.k",
        "SELECT count(*), sum(w.id) FROM wide w JOIN few f ON w.k {=} f.k AND w.id {=} f.v * 100",
    ] {
        let with_keys = world.rows(&sql.replace("{=}", "="));
        let without = world.rows(&sql.replace("{=}", "= 0 +"));
        assert_eq!(with_keys, without, "{sql}");
    }
}

#[test]
fn not_in_keeps_its_nulls() {
    let world = world();
    world.check("SELECT count(*) FROM few WHERE n NOT IN (SELECT n FROM wide)", &["0"]);
    world.check("SELECT count(*) FROM few WHERE n NOT IN (SELECT n FROM wide WHERE n IS NOT NULL AND n > 60)", &["6"]);
    world.check("SELECT count(*) FROM wide WHERE n NOT IN (SELECT n FROM few)", &["0"]);
}

#[test]
fn joins_of_a_recursive_query_read_each_time_anew() {
    let world = world();
    // From 1 by steps of four times as much: each turn's join has other keys than the one before.
    let sql = "WITH RECURSIVE r(id) AS (SELECT CAST(1 AS bigint) UNION ALL
                   SELECT w.id FROM r JOIN wide w ON w.id = r.id * 4 WHERE r.id < 100000)
               SELECT count(*), max(id) FROM r";
    world.check(sql, &["9|65536"]);
}

/// Keys are asked only of rows that the policy lets through, and only after it.
#[test]
fn keys_do_not_get_below_the_policy() {
    let mut world = World::new();
    world.setup(
        "CREATE TABLE t AS SELECT i AS id, i % 2 AS visible FROM generate_series(0, 99999) AS g(i);
         CREATE TABLE k AS SELECT i * 1001 AS id FROM generate_series(0, 99) AS g(i)",
    );
    world.policies("CREATE POLICY odd ON t USING (visible = 1); CREATE POLICY all_k ON k USING (true);");
    world.check("SELECT count(*) FROM k JOIN t ON t.id = k.id", &["50"]);
    world.check("SELECT count(*) FROM k JOIN t ON t.id = k.id WHERE t.visible = 0", &["0"]);
    world.check("SELECT count(*) FROM k LEFT JOIN t ON t.id = k.id WHERE t.id IS NULL", &["50"]);
}

/// Rows that find no partner leave at the scan: what would fail on them is not computed. PostgreSQL promises neither.
#[test]
fn rows_without_a_partner_go_no_further_than_the_scan() {
    let mut world = World::new();
    world.setup(
        "CREATE TABLE t AS SELECT i AS id, i % 1000 AS k, CASE WHEN i % 1000 < 100 THEN 1 ELSE 0 END AS d
             FROM generate_series(0, 149999) AS g(i);
         CREATE TABLE low AS SELECT i AS k FROM generate_series(0, 9) AS g(i)",
    );
    world.policies("CREATE POLICY all_t ON t USING (true); CREATE POLICY all_low ON low USING (true);");
    world.check(
        "SELECT count(*), sum(q) FROM low JOIN (SELECT k, 10 / d AS q FROM t) t ON t.k = low.k",
        &["1500|15000"],
    );
    world.check(
        "SELECT count(*), sum(q) FROM low JOIN (SELECT k, sum(10 / d) AS q FROM t GROUP BY k) t ON t.k = low.k",
        &["10|15000"],
    );
    world.refused("SELECT sum(10 / d) FROM t", weir_model::Code::DivisionByZero);
}
