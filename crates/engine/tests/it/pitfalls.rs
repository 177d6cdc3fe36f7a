//! What others shipped as bugs of DataFusion's (reference: its issue tracker), each as a test.

use weir_model::Code;

use crate::world::World;

#[test]
fn aggregates_with_expressions_keep_their_rows() {
    let world = World::new();
    world.setup("CREATE TABLE t (id bigint PRIMARY KEY, a integer, c integer)");
    let rows: Vec<String> = (0..20_000).map(|id| format!("({id}, {}, {})", id % 1000, 20_000 - id)).collect();
    world.setup(&format!("INSERT INTO t VALUES {}", rows.join(", ")));
    world.check("SELECT min(a), max(a), min(c + 1), max(c - 1) FROM t", &["0|999|2|19999"]);
}

#[test]
fn joins_over_grouped_sides_with_equal_names_keep_their_rows() {
    let world = World::new();
    world.setup(
        "CREATE TABLE a (id bigint PRIMARY KEY, k bigint); CREATE TABLE b (id bigint PRIMARY KEY, k bigint);
         INSERT INTO a VALUES (1, 10), (2, 20), (3, 30); INSERT INTO b VALUES (10, 1), (20, 2), (30, 3)",
    );
    world.check(
        "SELECT g.aid, g.bid, c.k FROM a c JOIN (SELECT a.id AS aid, b.id AS bid FROM a JOIN b ON a.k = b.id GROUP BY a.id, b.id) g
         ON g.bid = c.k ORDER BY 1",
        &["1|10|10", "2|20|20", "3|30|30"],
    );
}

#[test]
fn what_datafusion_ignores_is_refused() {
    let world = World::new();
    world.setup("CREATE TABLE t (id bigint PRIMARY KEY)");
    for sql in ["SELECT * FROM t TABLESAMPLE SYSTEM (10)", "SELECT * FROM t FOR UPDATE", "SELECT * FROM t FOR SHARE"] {
        world.refused(sql, Code::Unsupported);
    }
}

#[test]
fn client_forms_plan() {
    let world = World::new();
    world.setup(
        "CREATE TABLE t (id bigint PRIMARY KEY, region text); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'b')",
    );
    world.check("SELECT id FROM t ORDER BY id FETCH FIRST 2 ROWS ONLY", &["1", "2"]);
    world.check("SELECT count(*)::int8 FROM t ORDER BY 1", &["3"]);
    world.check("SELECT region, count(*)::int8 FROM t GROUP BY 1 ORDER BY 2 DESC, 1", &["b|2", "a|1"]);
    world.check("SELECT region, count(*)::int8 AS n FROM t GROUP BY region ORDER BY n", &["a|1", "b|2"]);
    world.check(
        "SELECT id, (SELECT max(u.id) FROM t u WHERE u.region = t.region) FROM t ORDER BY id",
        &["1|1", "2|3", "3|3"],
    );
}

#[test]
fn wide_lists_and_deep_conditions_do_not_overflow() {
    let world = World::new();
    world.setup("CREATE TABLE t (id bigint PRIMARY KEY, n integer); INSERT INTO t VALUES (1, 1), (7000, 2)");
    let list: Vec<String> = (2..10_002).map(|id| id.to_string()).collect();
    world.check(&format!("SELECT id FROM t WHERE id IN ({})", list.join(", ")), &["7000"]);
    let deep: Vec<String> = (0..500).map(|n| format!("n <> {}", n + 10)).collect();
    world.check(&format!("SELECT count(*) FROM t WHERE {}", deep.join(" AND ")), &["2"]);
    let wide: Vec<String> = (0..500).map(|n| format!("n = {n}")).collect();
    world.check(&format!("SELECT count(*) FROM t WHERE {}", wide.join(" OR ")), &["2"]);
}

/// One session's settings are its own.
#[test]
fn settings_stay_in_their_session() {
    let world = World::new();
    world.session.set_setting("application_name", Some("one"));
    let other = world.engine.session(world.session.identity().clone());
    other.set_setting("application_name", Some("two"));
    world.check("SELECT current_setting('application_name')", &["one"]);
    world.check("SELECT current_setting('no.such', true)", &["NULL"]);
    world.refused("SELECT current_setting('no.such')", Code::UndefinedObject);
}

#[test]
fn a_plan_made_before_a_policy_change_is_not_the_plan_after() {
    let mut world = World::new();
    world.setup("CREATE TABLE t (id bigint PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
    world.check("SELECT count(*) FROM t", &["2"]);
    world.policies("CREATE POLICY p ON t USING (id = 1);");
    world.check("SELECT count(*) FROM t", &["1"]);
}
