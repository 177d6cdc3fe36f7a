use weir_model::Code;

use crate::world::World;

fn world() -> World {
    let world = World::new();
    world.setup(
        "CREATE TABLE orders (id bigint PRIMARY KEY, region text, amount numeric(12,2), placed date);
         INSERT INTO orders VALUES (1, 'eu', 10.50, '2024-01-01'), (2, 'us', 20, '2024-02-01'),
             (3, 'eu', 30.25, '2024-03-01'), (4, NULL, NULL, NULL);
         CREATE TABLE regions (code text PRIMARY KEY, label text NOT NULL);
         INSERT INTO regions VALUES ('eu', 'Europe'), ('us', 'America')",
    );
    world
}

#[test]
fn selects_filters_orders_and_groups() {
    let world = world();
    world.check("SELECT id, amount FROM orders WHERE region = 'eu' ORDER BY id", &["1|10.50", "3|30.25"]);
    world.check(
        "SELECT region, count(*), sum(amount) FROM orders GROUP BY region ORDER BY region",
        &["eu|2|40.75", "us|1|20.00", "NULL|1|NULL"],
    );
    world.check("SELECT id FROM orders WHERE placed >= '2024-02-01' ORDER BY 1 DESC", &["3", "2"]);
    world.check("SELECT id FROM orders WHERE id IN (1, 4) AND region IS NULL", &["4"]);
    world.check("SELECT count(*) FROM orders", &["4"]);
    world.check("SELECT DISTINCT region FROM orders ORDER BY region NULLS FIRST", &["NULL", "eu", "us"]);
    world.check(
        "SELECT DISTINCT ON (region) region, id FROM orders ORDER BY region, id DESC",
        &["eu|3", "us|2", "NULL|4"],
    );
    world.check("SELECT id, id FROM orders WHERE id = 1", &["1|1"]);
    world.check("SELECT 7 / 2, -7 / 2, 7 % 3, 'a' || 'b', 1.5 * 2", &["3|-3|1|ab|3.0"]);
}

#[test]
fn joins_subqueries_and_set_operations() {
    let world = world();
    world.check(
        "SELECT o.id, r.label FROM orders o JOIN regions r ON r.code = o.region ORDER BY o.id",
        &["1|Europe", "2|America", "3|Europe"],
    );
    world.check(
        "SELECT o.id, r.label FROM orders o LEFT JOIN regions r ON r.code = o.region WHERE r.label IS NULL",
        &["4|NULL"],
    );
    world.check("SELECT id FROM orders WHERE amount > (SELECT avg(amount) FROM orders) ORDER BY id", &["3"]);
    world.check(
        "SELECT code FROM regions r WHERE EXISTS (SELECT 1 FROM orders o WHERE o.region = r.code AND o.amount > 25)",
        &["eu"],
    );
    world.check(
        "SELECT r.code, (SELECT max(o.amount) FROM orders o WHERE o.region = r.code) FROM regions r ORDER BY 1",
        &["eu|30.25", "us|20.00"],
    );
    world
        .check("SELECT EXISTS (SELECT 1 FROM orders WHERE id = 1), NOT EXISTS (SELECT 1 FROM orders)", &["true|false"]);
    world.check("SELECT code, EXISTS (SELECT 1 FROM orders o WHERE o.region = r.code AND o.amount > 25) FROM regions r ORDER BY 1", &[
        "eu|true", "us|false",
    ]);
    world.check("SELECT id FROM orders WHERE region = ANY('{eu,fr}') AND id <> ALL('{1,2}')", &["3"]);
    world.check("SELECT region FROM orders WHERE id = 1 UNION SELECT code FROM regions ORDER BY 1", &["eu", "us"]);
    world.check("SELECT code FROM regions EXCEPT SELECT 'us' ORDER BY 1", &["eu"]);
    world.check("WITH big AS (SELECT * FROM orders WHERE amount > 15) SELECT count(*) FROM big", &["2"]);
    world.check(
        "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n WHERE x < 5) SELECT sum(x) FROM n",
        &["15"],
    );
    world.check(
        "SELECT id, row_number() OVER (PARTITION BY region ORDER BY id DESC) FROM orders ORDER BY id",
        &["1|2", "2|1", "3|1", "4|1"],
    );
}

#[test]
fn views_read_through() {
    let world = world();
    world.setup("CREATE VIEW european AS SELECT id, amount AS value FROM orders WHERE region = 'eu'");
    world.check("SELECT value FROM european WHERE id > 1", &["30.25"]);
    world.check("SELECT e.id FROM european e JOIN orders o ON o.id = e.id ORDER BY e.id", &["1", "3"]);
}

#[test]
fn columns_are_named_and_typed_as_postgresql_names_them() {
    let world = world();
    let planned = world
        .plan("SELECT count(*), o.region, amount * 2, id AS \"Id\", now() FROM orders o GROUP BY 2, 3, 4", &[])
        .unwrap();
    let columns: Vec<String> = planned
        .columns()
        .unwrap()
        .iter()
        .map(|column| format!("{} {} {}", column.name, column.value_type, column.attribute))
        .collect();
    assert_eq!(
        columns,
        [
            "count bigint 0",
            "region text 0",
            "?column? numeric(23,2) 0",
            "Id bigint 0",
            "now timestamp with time zone 0",
        ]
    );
    let planned = world.plan("SELECT * FROM orders WHERE region = 'eu'", &[]).unwrap();
    let places: Vec<i16> = planned.columns().unwrap().iter().map(|column| column.attribute).collect();
    assert_eq!(places, [1, 2, 3, 4]);
}

#[test]
fn mistakes_are_named() {
    let world = world();
    let refusal = world.refused("SELECT nothing FROM orders", Code::UndefinedColumn);
    assert_eq!(refusal.message(), "column \"nothing\" does not exist");
    assert!(refusal.hint_line().unwrap().contains("amount"), "{refusal:?}");
    let refusal = world.refused("SELECT 1 FROM nowhere", Code::UndefinedTable);
    assert_eq!(refusal.message(), "relation \"nowhere\" does not exist");
    world.refused("SELECT nofunction(1)", Code::UndefinedFunction);
    world.refused(
        "SELECT code FROM regions r, orders o JOIN regions q ON true WHERE label = 'x'",
        Code::AmbiguousColumn,
    );
    world.refused("SELECT region, id FROM orders GROUP BY region", Code::GroupingError);
    world.refused("SELECT 1 / 0", Code::DivisionByZero);
    world.refused("SELECT id / (id - id) FROM orders", Code::DivisionByZero);
    world.refused("SELECT 'x'::int", Code::InvalidTextRepresentation);
    world.refused("SELECT (SELECT id FROM orders)", Code::CardinalityViolation);
    world.refused("SELECT id FROM orders WHERE id = 'abc'", Code::InvalidTextRepresentation);
    world.refused("SELECT id FROM orders UNION SELECT code, label FROM regions", Code::SyntaxError);
}

#[test]
fn hidden_objects_do_not_exist() {
    let mut world = world();
    world.hide("public.regions");
    let hidden = world.refused("SELECT * FROM regions", Code::UndefinedTable);
    let missing = world.refused("SELECT * FROM regionz", Code::UndefinedTable);
    assert_eq!(hidden.message().replace("regions", "x"), missing.message().replace("regionz", "x"));
    assert_eq!(hidden.hint_line(), missing.hint_line());
}

#[test]
fn explain_shows_the_shape_and_no_policy() {
    let mut world = world();
    world.policies("CREATE POLICY p ON orders FOR SELECT USING (amount > 15);");
    let plan = world.rows("EXPLAIN SELECT id FROM orders WHERE region = 'eu'").join("\n");
    assert!(plan.contains("Row policy") && plan.contains("Scan on public.orders"), "{plan}");
    assert!(!plan.contains("amount") && !plan.contains("15"), "{plan}");
}

#[test]
fn bare_small_numbers_are_integers() {
    let world = world();
    let planned = world.plan("SELECT 1, -2 AS b, 3000000000, 1 + 1", &[]).unwrap();
    let types: Vec<String> = planned.columns().unwrap().iter().map(|column| column.value_type.to_string()).collect();
    assert_eq!(types, ["integer", "integer", "bigint", "integer"]);
    world.check("SELECT 1 UNION ALL SELECT id FROM orders WHERE id = 2 ORDER BY 1", &["1", "2"]);
}
