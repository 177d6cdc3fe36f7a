//! What a client reads: traced plans, optimised, executed and masked.

use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{CUSTOMER, Fixture};

/// Rows as `a|b`, in order; NULL as `∅`.
async fn rows(fixture: &Fixture, sql: &str) -> Vec<String> {
    let batch = fixture.run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let options = FormatOptions::default().with_null("∅");
    let columns: Vec<_> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|"))
        .collect()
}

async fn check_rows(cases: &[(&str, &[&str])]) {
    let fixture = Fixture::new().await;
    for (sql, expected) in cases {
        assert_eq!(rows(&fixture, sql).await, *expected, "{sql}");
    }
}

#[tokio::test]
async fn masks_stand_in_place_of_values() {
    check_rows(&[
        (
            "select c_custkey, c_name, c_acctbal, c_iban from customer order by c_custkey",
            &[
                "1|***REDACTED***|∅|****3456",
                "2|***REDACTED***|∅|****7654",
                "3|***REDACTED***|∅|****3456",
                "4|***REDACTED***|∅|∅",
            ],
        ),
        (
            "select a.c_phone = b.c_phone, count(a.c_phone) over () from customer a join customer b \
             on a.c_custkey < b.c_custkey where a.c_custkey = 1 order by b.c_custkey",
            &["∅|3", "∅|3", "∅|3"],
        ),
        (
            "select upper(c_name), length(c_name), c_acctbal + 1 from customer where c_custkey = 1",
            &["***REDACTED***|∅|∅"],
        ),
        ("select count(*), count(c_phone), sum(c_acctbal) from customer", &["4|3|∅"]),
        ("select sum(c_acctbal), max(c_name) from customer", &["∅|***REDACTED***"]),
        (
            "select c_mktsegment, sum(c_acctbal), sum(c_custkey) from customer group by c_mktsegment order by 1",
            &["BUILDING|∅|8", "MACHINERY|∅|2"],
        ),
        (
            "select c_custkey, max(c_acctbal) over (order by c_custkey) from customer where c_custkey < 3",
            &["1|∅", "2|∅"],
        ),
        (
            "select c_mktsegment, count(c_name), max(c_acctbal), grouping(c_mktsegment) from customer \
             group by rollup (c_mktsegment) order by 4, 1",
            &["BUILDING|2|∅|0", "MACHINERY|1|∅|0", "∅|3|∅|1"],
        ),
        (
            "select c_custkey, c_acctbal + 1 from customer where c_custkey = 1 union all select o_orderkey, o_total \
             from orders where o_orderkey = 10",
            &["1|∅", "10|∅"],
        ),
        (
            "with recursive r(n, p) as (select 1, c_acctbal from customer where c_custkey = 1 union all \
             select n + 1, 1 / (p - 711.56) from r where n < 3) select n, p from r order by n",
            &["1|∅", "2|∅", "3|∅"],
        ),
        (
            "select o_orderkey, (select max(c_name) from customer where c_custkey = o_custkey) from orders order by 1",
            &["10|***REDACTED***", "11|***REDACTED***", "12|***REDACTED***"],
        ),
        (
            "select x.p from customer c, lateral (select upper(c.c_name) as p) x where c.c_custkey = 1",
            &["***REDACTED***"],
        ),
        (
            "select distinct on (c_mktsegment) c_mktsegment, upper(c_phone) from customer order by 1",
            &["BUILDING|∅", "MACHINERY|∅"],
        ),
        ("select s_rating + 1, s_rating from supplier", &["∅|∅", "∅|∅"]),
        ("select coalesce(s_rating + 1, 5) from supplier limit 1", &["∅"]),
    ])
    .await;
}

#[tokio::test]
async fn equality_and_any_see_values_and_return_masks() {
    check_rows(&[
        ("select id, eq_n from modes where eq_n = 6", &["2|∅"]),
        ("select count(*) from modes group by eq_t", &["2"]),
        ("select id, any_t from modes where any_t like 'y%'", &["1|***REDACTED***"]),
        ("select id, any_n * 2 from modes order by any_n desc", &["2|∅", "1|∅"]),
        ("select count(case when any_n > 100 then 1 end) from modes", &["1"]),
    ])
    .await;
}

#[tokio::test]
async fn masked_predicates_work_on_masks() {
    check_rows(&[
        (
            "select id, seen_r, seen_p, seen_n from modes order by id",
            &["1|***REDACTED***|****cret|∅", "2|***REDACTED***|*|∅"],
        ),
        ("select id from modes where seen_r = 'z-secret'", &[]),
        ("select id from modes where seen_p = '****cret'", &["1"]),
        ("select count(*) from modes where seen_h = 'h-secret'", &["0"]),
        ("select count(*) from modes where length(seen_h) = 32", &["1"]),
        ("select id from modes where seen_n = 42", &[]),
        ("select upper(seen_p), count(*) from modes group by 1 order by 1", &["*|1", "****CRET|1"]),
    ])
    .await;
}

#[tokio::test]
async fn equal_values_keep_equal_digests() {
    let fixture = Fixture::new().await;
    let digests = rows(&fixture, "select c_phone from customer union all select s_phone from supplier").await;
    assert_eq!(digests.len(), 6);
    assert_eq!(digests[0], digests[2], "within a table");
    assert_eq!(digests[0], digests[4], "across tables");
    assert_ne!(digests[0], digests[1]);
    assert_eq!(digests[3], "∅");
}

#[tokio::test]
async fn errors_do_not_depend_on_the_secret() {
    let fixture = Fixture::new().await;
    let other = Fixture::with_customers(&CUSTOMER.replace("711.56", "100.00").replace("Alice", "12345")).await;
    for expression in [
        "1 / (c_acctbal - 100)",
        "cast(c_name as int)",
        "case when c_acctbal = 100 then 1 / 0 else 1 end",
        "case when c_name like '123%' then (select c_custkey from customer) else 1 end",
        "sum(1 / (c_acctbal - 100))",
        "max(cast(c_name as int))",
        "sum(1 / (c_acctbal - 100)) over ()",
        "(select max(1 / (c.c_acctbal - 100)) from customer c)",
        "coalesce(nullif(c_acctbal, 100) / 0, 1)",
    ] {
        let sql = format!("select {expression} from customer");
        assert_eq!(fixture.run(&sql).await, other.run(&sql).await, "{sql}");
    }
}
