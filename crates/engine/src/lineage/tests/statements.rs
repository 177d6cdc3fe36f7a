//! Statements, and what each of their output columns leaves as, or where they are refused.

use datafusion::{
    logical_expr::{Expr, LogicalPlanBuilder},
    prelude::{col, lit},
};

use super::{Fixture, check_all, outcome};

#[tokio::test]
async fn values_keep_their_mask() {
    check_all(&[
        ("select c_custkey, c_name, c_phone, c_acctbal, c_iban from customer", "- redact hash null partial"),
        ("select * from customer", "- redact hash null - - partial"),
        ("select c_phone as p, c_name n from customer c", "hash redact"),
        ("select x.p from (select c_phone as p from customer) x", "hash"),
        ("select a, b from (select c_custkey, c_name from customer) as x(a, b)", "- redact"),
        ("select c_comment, o_note from customer join orders on c_custkey = o_custkey", "- -"),
        ("select phone, id from people", "hash -"),
        ("select c_phone from customer where c_custkey = 1 limit 1", "hash"),
        ("select c_phone from customer order by c_custkey desc limit 2 offset 1", "hash"),
        ("select c_phone::varchar, cast(c_name as text) from customer", "hash redact"),
        ("select c_phone from customer where exists (select 1 from orders where o_custkey = c_custkey)", "hash"),
        ("select $1::text, c_phone from customer where c_custkey = $2", "- hash"),
        ("explain select c_phone from customer", "- -"),
        ("select 1", "-"),
        ("select o_note, upper(o_note) from orders order by 1", "- -"),
    ])
    .await;
}

#[tokio::test]
async fn what_is_computed_is_hidden() {
    check_all(&[
        ("select upper(c_name), c_name || 'x', 'x' || c_name from customer", "redacted redacted redacted"),
        ("select upper(c_phone) from customer", "hidden"),
        ("select c_phone || c_name from customer", "hidden"),
        (
            "select c_acctbal + 1, -c_acctbal, round(c_acctbal), abs(c_acctbal) from customer",
            "hidden hidden hidden hidden",
        ),
        ("select 1 / (c_acctbal - 100) from customer", "hidden"),
        (
            "select cast(c_phone as int), try_cast(c_name as int), c_acctbal::text from customer",
            "hidden redacted hidden",
        ),
        ("select c_acctbal::double, c_acctbal::decimal(10, 1) as rounded from customer", "hidden hidden"),
        ("select case when c_acctbal > 100 then 'rich' else 'poor' end from customer", "hidden"),
        ("select case when c_name = 'Alice' then 'yes' else 'no' end from customer", "redacted"),
        (
            "select case c_phone when 'x' then 1 end, case when c_custkey > 1 then c_phone end from customer",
            "hidden hidden",
        ),
        (
            "select coalesce(c_name, 'none'), nullif(c_name, 'Alice'), coalesce(c_phone, c_name) from customer",
            "redacted redacted hidden",
        ),
        (
            "select c_acctbal > 100, c_name = 'x', c_phone is null, c_phone is not null from customer",
            "hidden redacted hidden hidden",
        ),
        (
            "select c_name like 'A%', c_phone between '1' and '2', c_phone in ('1', '2') from customer",
            "redacted hidden hidden",
        ),
        (
            "select substr(c_iban, 1, 2), left(c_iban, 1), length(c_name), md5(c_phone) from customer",
            "hidden hidden redacted hidden",
        ),
        ("select concat(c_custkey, c_name), concat_ws('-', c_comment, c_phone) from customer", "redacted hidden"),
        (
            "select array[c_name], make_array(c_phone, 'x'), struct(c_custkey, c_acctbal) from customer",
            "redacted hidden hidden",
        ),
        ("select c_custkey + 1, upper(c_comment) from customer", "- -"),
        ("select u || 'y' from (select upper(c_name) u from customer)", "redacted"),
        ("select (c_custkey in (select c_acctbal from customer)) from customer", "hidden"),
        (
            "select c_name ~ 'A.*', regexp_replace(c_name, 'A', 'B'), strpos(c_name, 'A') from customer",
            "redacted redacted redacted",
        ),
        ("select greatest(c_acctbal, 5), c_acctbal is distinct from 5 from customer", "hidden hidden"),
        ("select extract(year from to_timestamp(c_acctbal::bigint)) from customer", "hidden"),
        ("select 'x' = any(array[c_phone]), c_custkey = c_acctbal from customer", "hidden hidden"),
    ])
    .await;
}

#[tokio::test]
async fn only_counting_declassifies() {
    check_all(&[
        ("select count(*), count(1), count(c_phone), count(distinct c_comment) from customer", "- - - -"),
        ("select c_mktsegment, count(c_acctbal) from customer group by c_mktsegment", "- -"),
        ("select count(p) + 1 from (select c_phone p from customer) x", "-"),
        ("select count(c_phone) from customer having count(c_phone) > 1", "-"),
        ("select sum(c_acctbal), avg(c_acctbal), min(c_phone), max(c_name) from customer", "hidden hidden hidden redacted"),
        ("select sum(o_total), max(c_custkey), max(c_acctbal) from orders join customer on c_custkey = o_custkey", "- - hidden"),
        ("select string_agg(c_name, ','), array_agg(c_phone), first_value(c_phone), median(c_acctbal) from customer", "redacted hidden hidden hidden"),
        ("select stddev(c_acctbal), corr(c_acctbal, c_custkey), approx_distinct(c_phone), bit_and(c_acctbal::int) from customer", "hidden hidden hidden hidden"),
        ("select bool_or(c_acctbal > 100), count(nullif(c_phone, 'x')), count(c_acctbal > 100 or null) from customer", "hidden hidden hidden"),
        ("select count(case when c_acctbal > 100 then 1 end) from customer", "hidden"),
        ("select count(x) from (select case when c_acctbal > 100 then 1 end x from customer)", "hidden"),
        ("select count(p) from (select c_phone p from customer where c_custkey = 1 union all select '25-989')", "hidden"),
        ("select count(p) from (select c_phone p from customer union all select s_phone from supplier)", "-"),
        ("select count(c_phone || 'x') * 2, sum(c_acctbal) / count(*) from customer", "hidden hidden"),
        ("select c_custkey, max(c_acctbal) m from customer group by c_custkey order by c_custkey", "- hidden"),
        ("select m from (select max(c_acctbal) m from customer)", "hidden"),
        ("select count(c_custkey, c_comment) from customer", "-"),
        ("select sum(c_custkey) filter (where c_mktsegment = 'BUILDING') from customer", "-"),
        ("select approx_percentile_cont(c_acctbal, 0.5), covar_samp(c_custkey, c_acctbal) from customer", "hidden hidden"),
        ("select min(c_custkey), max(c_acctbal), min(c_comment) from customer group by c_mktsegment", "- hidden -"),
    ])
    .await;
}

#[tokio::test]
async fn masked_columns_decide_over_no_rows() {
    check_all(&[
        ("select 1 from customer where c_phone = '25'", "refused WHERE customer.c_phone"),
        ("select count(distinct c_phone) from customer", "refused count(DISTINCT …) customer.c_phone"),
        ("select count(distinct upper(c_phone)) from customer", "refused count(DISTINCT …) customer.c_phone"),
        ("select count(*) from customer having count(distinct c_phone) > 1", "refused count(DISTINCT …) customer.c_phone"),
        ("select count(distinct p) from (select c_phone p from customer where c_custkey = 1 union all select '25-989')", "refused count(DISTINCT …) customer.c_phone"),
        ("select count(distinct p) from (values ((select c_phone from customer where c_custkey = 1)), ('25-989')) v(p)", "refused count(DISTINCT …) customer.c_phone"),
        ("select count(distinct p) from (select c_phone p from customer union all select s_phone from supplier)", "refused count(DISTINCT …) customer.c_phone"),
        ("select 1 from customer where c_acctbal > 100", "refused WHERE customer.c_acctbal"),
        ("select 1 from customer where c_name like 'A%'", "refused WHERE customer.c_name"),
        ("select 1 from customer where upper(c_name) = 'A'", "refused WHERE customer.c_name"),
        ("select 1 from customer where c_custkey = 1 and (c_comment = 'x' or not c_phone is null)", "refused WHERE customer.c_phone"),
        ("select 1 from customer where case when c_acctbal > 1 then true else false end", "refused WHERE customer.c_acctbal"),
        ("select 1 from customer where 1 / (c_acctbal - 100) > 0 and false", "refused WHERE customer.c_acctbal"),
        ("select 1 from customer where c_phone in ('1', '2')", "refused WHERE customer.c_phone"),
        ("select 1 from customer where c_acctbal between 1 and 2", "refused WHERE customer.c_acctbal"),
        ("select 1 from customer where c_custkey = c_acctbal", "refused WHERE customer.c_acctbal"),
        ("select 1 from customer where (c_custkey, c_phone) = (1, 'x')", "refused WHERE customer.c_phone"),
        ("select 1 from (select c_phone p from customer) x where p = 'x'", "refused WHERE customer.c_phone"),
        ("select 1 from (select upper(c_phone) p from customer) x where p is null", "refused WHERE customer.c_phone"),
        ("select 1 from (select max(c_acctbal) m from customer) where m > 1", "refused WHERE customer.c_acctbal"),
        ("select 1 from people where phone = 'x'", "refused WHERE customer.c_phone"),
        ("select phone from (select c_phone phone from customer union all select s_phone from supplier) where phone = 'x'", "refused WHERE customer.c_phone"),
        ("select 1 from (select 'x' p union all select c_phone from customer) where p = 'x'", "refused WHERE customer.c_phone"),
        ("select c_phone from customer order by c_phone", "refused ORDER BY customer.c_phone"),
        ("select c_phone from customer order by 1", "refused ORDER BY customer.c_phone"),
        ("select c_custkey from customer order by c_custkey, c_acctbal limit 1", "refused ORDER BY customer.c_acctbal"),
        ("select c_custkey from customer order by c_name like 'A%' limit 1", "refused ORDER BY customer.c_name"),
        ("select upper(c_name) u from customer order by u", "refused ORDER BY customer.c_name"),
        ("select c_phone, count(*) from customer group by c_phone", "refused GROUP BY customer.c_phone"),
        ("select c_phone, count(*) from customer group by 1", "refused GROUP BY customer.c_phone"),
        ("select count(*) from customer group by substr(c_phone, 1, 2)", "refused GROUP BY customer.c_phone"),
        ("select count(*) from customer group by c_acctbal > 100", "refused GROUP BY customer.c_acctbal"),
        ("select count(*) from customer group by grouping sets ((c_mktsegment), (c_name))", "refused GROUP BY customer.c_name"),
        ("select count(*) from customer group by rollup (c_mktsegment, c_name)", "refused GROUP BY customer.c_name"),
        ("select count(*) from customer group by cube (c_mktsegment, c_name)", "refused GROUP BY customer.c_name"),
        ("select c_mktsegment, count(c_phone) from customer group by rollup (c_mktsegment)", "- -"),
        ("select c_mktsegment from customer group by c_mktsegment having max(c_acctbal) > 100", "refused HAVING customer.c_acctbal"),
        ("select c_mktsegment from customer group by c_mktsegment having min(c_name) = 'Alice'", "refused HAVING customer.c_name"),
        ("select distinct c_phone from customer", "refused DISTINCT customer.c_phone"),
        ("select distinct c_custkey, upper(c_name) from customer", "refused DISTINCT customer.c_name"),
        ("select distinct on (c_phone) c_custkey from customer", "refused DISTINCT ON customer.c_phone"),
        ("select distinct on (c_mktsegment) c_custkey from customer order by c_mktsegment, c_acctbal", "refused ORDER BY customer.c_acctbal"),
        ("select distinct on (c_mktsegment) c_phone, upper(c_name) from customer order by c_mktsegment, c_custkey", "hash redacted"),
        ("select count(*) filter (where c_acctbal > 100) from customer", "refused FILTER customer.c_acctbal"),
        ("select array_agg(c_custkey order by c_acctbal) from customer", "refused ORDER BY customer.c_acctbal"),
        ("select first_value(c_custkey order by c_name) from customer", "refused ORDER BY customer.c_name"),
        ("select unnest(string_to_array(c_phone, '-')) from customer", "refused UNNEST customer.c_phone"),
        ("select unnest([1, 2]), c_phone from customer", "- hash"),
        ("select c_custkey from customer limit (select count(*) from customer where c_acctbal > 1)", "refused WHERE customer.c_acctbal"),
    ])
    .await;
}

#[tokio::test]
async fn joins_carry_and_refuse() {
    check_all(&[
        ("select c_phone, o_note from customer join orders on c_custkey = o_custkey", "hash -"),
        ("select c_phone, o_note from orders left join customer on c_custkey = o_custkey", "hash -"),
        ("select o_note, c_phone from customer right join orders on c_custkey = o_custkey", "- hash"),
        ("select c_phone, o_note from customer full join orders on c_custkey = o_custkey", "hash -"),
        ("select c_phone, s_name from customer cross join supplier", "hash redact"),
        ("select c_phone from customer, orders where c_custkey = o_custkey", "hash"),
        ("select * from (select c_custkey k, c_phone p from customer) a join (select o_custkey k, o_note n from orders) b using (k)", "- hash -"),
        ("select * from (select c_custkey k, c_phone p from customer) a natural join (select o_custkey k, o_note n from orders) b", "- hash -"),
        ("select c_phone from customer left semi join orders on c_custkey = o_custkey", "hash"),
        ("select c_phone from customer left anti join orders on c_custkey = o_custkey", "hash"),
        ("select o_note from customer right semi join orders on c_custkey = o_custkey", "-"),
        ("select a.c_phone, b.c_comment from customer a join customer b on a.c_custkey = b.c_custkey", "hash -"),
        ("select 1 from customer join supplier on c_phone = s_phone", "refused JOIN customer.c_phone"),
        ("select 1 from customer join orders on c_custkey = o_custkey and c_acctbal > o_total", "refused JOIN customer.c_acctbal"),
        ("select 1 from customer left join (values ('25')) v(g) on c_phone = g", "refused JOIN customer.c_phone"),
        ("select 1 from (select c_phone p from customer) a join (select s_phone p from supplier) b using (p)", "refused JOIN customer.c_phone"),
        ("select 1 from (select c_phone p from customer) a natural join (select s_phone p from supplier) b", "refused JOIN customer.c_phone"),
        ("select 1 from (select c_phone p from customer) a full join (select s_phone p from supplier) b using (p)", "refused JOIN customer.c_phone"),
        ("select 1 from customer left semi join supplier on c_name = s_name", "refused JOIN customer.c_name"),
        ("select 1 from customer cross join supplier where c_phone = s_phone", "refused WHERE customer.c_phone"),
        ("select 1 from customer a join customer b on upper(a.c_name) = upper(b.c_comment)", "refused JOIN customer.c_name"),
        ("select 1 from orders join (select max(c_acctbal) m from customer) x on m > o_total", "refused JOIN customer.c_acctbal"),
        ("select c_phone, n from customer join (select o_custkey, count(*) n from orders group by 1) x on c_custkey = o_custkey", "hash -"),
    ])
    .await;
}

#[tokio::test]
async fn set_operations_meet_by_position() {
    check_all(&[
        ("select c_phone from customer union all select s_phone from supplier", "hash"),
        ("select c_phone from customer union all select s_name from supplier", "hidden"),
        ("select c_name from customer union all select 'x'", "redacted"),
        ("select 'x' as a union all select c_phone from customer", "hidden"),
        ("select c_custkey, c_name from customer union all select o_orderkey, o_note from orders", "- redacted"),
        ("select c_name, c_comment from customer union all select s_name, s_name as again from supplier", "redact redacted"),
        ("select c_acctbal from customer union all select o_total from orders", "hidden"),
        ("select c_comment from customer union select o_note from orders", "-"),
        ("select c_phone from customer union select s_phone from supplier", "refused UNION customer.c_phone"),
        ("select c_phone from customer union select 'x'", "refused UNION customer.c_phone"),
        ("select c_phone from customer intersect select s_phone from supplier", "refused INTERSECT customer.c_phone"),
        ("select c_phone from customer except select '25'", "refused EXCEPT customer.c_phone"),
        ("select c_phone from customer intersect all select s_phone from supplier", "refused INTERSECT customer.c_phone"),
        ("select c_phone from customer except all select '25'", "refused EXCEPT customer.c_phone"),
        ("select '25' except select c_phone from customer", "refused EXCEPT customer.c_phone"),
        ("select c_custkey from customer intersect select o_custkey from orders", "-"),
        ("select count(*) from (select c_phone from customer union select '25')", "refused UNION customer.c_phone"),
        ("select p || 'x' from (select c_phone p from customer union all select 'x')", "hidden"),
        ("select c_phone from customer union all select s_phone from supplier order by 1", "refused ORDER BY customer.c_phone"),
        ("(select c_name n, c_custkey k from customer) union all (select s_name, s_suppkey from supplier) order by k", "redact -"),
    ])
    .await;
}

#[tokio::test]
async fn subqueries_are_entered_everywhere() {
    check_all(&[
        ("select (select c_phone from customer where c_custkey = 1)", "hash"),
        ("select (select max(c_acctbal) from customer)", "hidden"),
        ("select (select count(c_phone) from customer)", "-"),
        ("select (select c_phone from customer where c_custkey = 1) || 'x'", "hidden"),
        ("select o_note, (select c_phone from customer where c_custkey = o_custkey) from orders", "- hash"),
        ("select o_note, (select max(c_name) from customer where c_custkey = o_custkey) from orders", "- redacted"),
        ("select (select 1 from orders where o_note = c_phone limit 1) from customer", "refused WHERE customer.c_phone"),
        ("select (select max(o_total) from orders where o_total < c_acctbal) from customer", "refused WHERE customer.c_acctbal"),
        ("select c_custkey from customer c where exists (select 1 from orders where o_note = c.c_phone)", "refused WHERE customer.c_phone"),
        ("select c_custkey from customer c where not exists (select 1 from orders o where o.o_custkey = c.c_custkey)", "-"),
        ("select exists (select c_phone from customer where c_custkey = 1)", "-"),
        ("select exists (select 1 from customer where c_acctbal > 100)", "refused WHERE customer.c_acctbal"),
        ("select 1 from orders where o_note in (select c_phone from customer)", "refused WHERE customer.c_phone"),
        ("select 1 from customer where c_phone in (select o_note from orders)", "refused WHERE customer.c_phone"),
        ("select 1 from orders where o_custkey in (select c_custkey from customer)", "-"),
        ("select 1 from orders where o_custkey in (select c_custkey from customer where c_name = 'A')", "refused WHERE customer.c_name"),
        ("select 1 from orders where o_note not in (select max(c_phone) from customer)", "refused WHERE customer.c_phone"),
        ("select 1 from orders where o_note = (select c_phone from customer where c_custkey = 1)", "refused WHERE customer.c_phone"),
        ("select 1 from orders where (select count(c_phone) from customer) > 3", "-"),
        ("select 1 from orders where o_total > all (select c_acctbal from customer)", "refused WHERE customer.c_acctbal"),
        ("select 1 from orders where o_note = any (select c_phone from customer)", "refused WHERE customer.c_phone"),
        ("select (o_note in (select c_phone from customer)) from orders", "hidden"),
        ("select case when exists (select 1 from orders where o_custkey = c_custkey) then c_comment end from customer", "-"),
        ("select o_orderkey from orders order by (select c_phone from customer where c_custkey = 1)", "refused ORDER BY customer.c_phone"),
        ("select count(*) from orders group by (select c_phone from customer where c_custkey = 1)", "refused GROUP BY customer.c_phone"),
        ("select x.p from customer c, lateral (select c.c_phone as p) x", "hash"),
        ("select x.p from customer c, lateral (select upper(c.c_name) as p) x", "redacted"),
        ("select x.n from customer c, lateral (select o_note n from orders where o_custkey = c.c_custkey) x", "-"),
        ("select x.n from customer c, lateral (select o_note n from orders where o_note = c.c_phone) x", "refused WHERE customer.c_phone"),
        ("select x.n from customer c left join lateral (select o_note n from orders where o_total < c.c_acctbal) x on true", "refused WHERE customer.c_acctbal"),
        ("select v from customer c, lateral (values (c.c_custkey), (c.c_acctbal)) t(v)", "hidden"),
        ("select v from customer c, lateral (values (c.c_custkey)) t(v)", "-"),
        ("select (select (select c.c_phone)) from customer c", "hash"),
        ("select (select max(o_total) from orders where exists (select 1 from supplier where s_suppkey = c.c_acctbal)) from customer c", "refused WHERE customer.c_acctbal"),
        ("select upper((select c_name from customer where c_custkey = 1)), o_note from orders", "redacted -"),
    ])
    .await;
}

#[tokio::test]
async fn common_table_expressions_carry() {
    check_all(&[
        ("with x as (select c_phone p from customer) select p from x", "hash"),
        ("with x as (select c_phone p from customer) select a.p, b.p from x a cross join x b", "hash hash"),
        ("with x as (select c_phone p from customer) select 1 from x where p = 'x'", "refused WHERE customer.c_phone"),
        ("with x as (select upper(c_phone) p from customer), y as (select p || 'y' q from x) select q from y", "hidden"),
        ("with customer as (select 1 as c_phone) select c_phone from customer where c_phone = 1", "-"),
        ("with orders as (select c_phone as o_note from customer) select o_note from orders", "hash"),
        ("with orders as (select c_phone as o_note from customer) select 1 from orders where o_note = 'x'", "refused WHERE customer.c_phone"),
        ("with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) select n, c_phone from r join customer on n = c_custkey", "- hash"),
        ("with recursive r(k, p) as (select c_custkey, c_phone from customer union all select k + 10, p from r where k < 30) select p, k from r", "hash -"),
        ("with recursive r(n, p) as (select 1, 'x' union all select n + 1, (select c_phone from customer where c_custkey = 1) from r where n < 3) select n, p from r", "- hidden"),
        ("with recursive r(n, a, b) as (select 1, 'x', c_phone from customer union all select n + 1, b, a from r where n < 5) select n, a, b from r", "- hidden hidden"),
        ("with recursive r(n, a, b, c) as (select 1, 'x', 'y', c_phone from customer union all select n + 1, b, c, a from r where n < 5) select a, b, c from r", "hidden hidden hidden"),
        ("with recursive r(n, p) as (select 1, c_acctbal from customer union all select n + 1, p / 2 from r where n < 20) select p from r", "hidden"),
        ("with recursive r(n, p) as (select 1, c_acctbal from customer union all select n + 1, p / 2 from r where p > 20) select n from r", "refused WHERE customer.c_acctbal"),
        ("with recursive r(n, a) as (select 1, 'x' union all select n + 1, (select max(c_phone) from customer) from r where a <> 'y') select n from r", "refused WHERE customer.c_phone"),
        ("with recursive r(p) as (select c_phone from customer union select p from r) select p from r", "refused UNION customer.c_phone"),
        ("with recursive customer(c_phone) as (select 1 union all select c_phone + 1 from customer where c_phone < 3) select c_phone from customer", "-"),
    ])
    .await;
}

#[tokio::test]
async fn windows_hide_and_refuse() {
    check_all(&[
        ("select c_phone, row_number() over (order by c_custkey) from customer", "hash -"),
        ("select sum(c_acctbal) over (), c_custkey from customer", "hidden -"),
        ("select lag(c_phone) over (order by c_custkey), lead(c_name) over (order by c_custkey) from customer", "hidden redacted"),
        ("select first_value(c_phone) over (order by c_custkey), nth_value(c_phone, 2) over (order by c_custkey) from customer", "hidden hidden"),
        ("select count(c_phone) over (partition by c_mktsegment), count(*) over () from customer", "- -"),
        ("select count(nullif(c_phone, 'x')) over () from customer", "hidden"),
        ("select row_number() over (order by c_acctbal) from customer", "refused ORDER BY customer.c_acctbal"),
        ("select rank() over (partition by c_phone order by c_custkey) from customer", "refused PARTITION BY customer.c_phone"),
        ("select count(*) over (partition by c_name like 'A%') from customer", "refused PARTITION BY customer.c_name"),
        ("select count(*) over w from customer window w as (order by c_name)", "refused ORDER BY customer.c_name"),
        ("select count(*) filter (where c_acctbal > 1) over () from customer", "refused FILTER customer.c_acctbal"),
        ("select c_custkey from customer qualify max(c_acctbal) over () > 1", "refused QUALIFY customer.c_acctbal"),
        ("select c_custkey, c_phone from customer qualify row_number() over (partition by c_mktsegment order by c_custkey) = 1", "- hash"),
        ("select sum(c_custkey) over (), max(c_acctbal) over (), rank() over (order by c_comment), c_name from customer", "- hidden - redact"),
        ("select sum(max(c_acctbal)) over () from customer group by c_mktsegment", "hidden"),
        ("select ntile(2) over (order by c_custkey), avg(c_acctbal) over (order by c_custkey rows 1 preceding) from customer", "- hidden"),
        ("select m from (select c_custkey, max(c_acctbal) over () m from customer) where m > 1", "refused WHERE customer.c_acctbal"),
    ])
    .await;
}

#[tokio::test]
async fn keys_that_a_primary_key_determines_may_group() {
    check_all(&[
        ("select c_custkey, count(*) from customer group by c_custkey", "- -"),
        ("select c_custkey, c_phone, count(*) from customer group by c_custkey", "- hash -"),
        ("select c_custkey, c_phone, count(*) from customer group by c_custkey, c_phone", "- hash -"),
        ("select c_custkey, c_phone, sum(o_total) from customer join orders on c_custkey = o_custkey group by c_custkey, c_phone", "- hash -"),
        ("select c_mktsegment, c_phone, count(*) from customer group by c_mktsegment, c_phone", "refused GROUP BY customer.c_phone"),
        ("select c_custkey, upper(c_name), count(*) from customer group by c_custkey, upper(c_name)", "refused GROUP BY customer.c_name"),
    ])
    .await;
}

#[tokio::test]
async fn equality_allows_comparing_and_grouping() {
    check_all(&[
        ("select eq_t from modes where eq_t = 'x'", "hash"),
        ("select eq_t from modes where eq_t <> 'x' and not (eq_n = 5 or eq_n is null)", "hash"),
        ("select eq_t from modes where eq_t in ('x', 'y') and eq_t is distinct from 'z'", "hash"),
        ("select eq_t from modes where eq_t in (select o_note from orders)", "hash"),
        ("select eq_n from modes where eq_n = id::bigint", "null"),
        ("select eq_t from modes join orders on eq_t = o_note", "hash"),
        ("select eq_t, count(*) from modes group by eq_t having count(*) > 1", "hash -"),
        ("select distinct eq_t from modes", "hash"),
        ("select distinct on (eq_t) id from modes", "-"),
        ("select eq_t from modes union select eq_t from modes", "hash"),
        ("select eq_t from modes intersect select eq_t from modes", "hash"),
        ("select eq_t from modes except select eq_t from modes", "hash"),
        ("select count(*) over (partition by eq_t) from modes", "-"),
        ("select count(*) from modes group by grouping sets ((eq_t), (id))", "-"),
        ("select eq_t from modes union select 'x'", "refused UNION modes.eq_t"),
        ("select 1 from modes where eq_t < 'x'", "refused WHERE modes.eq_t"),
        ("select 1 from modes where eq_t like 'x%'", "refused WHERE modes.eq_t"),
        ("select 1 from modes where upper(eq_t) = 'X'", "refused WHERE modes.eq_t"),
        ("select 1 from modes where eq_n + 1 = 5", "refused WHERE modes.eq_n"),
        ("select 1 from modes where eq_t::int = 5", "refused WHERE modes.eq_t"),
        ("select 1 from modes order by eq_t", "refused ORDER BY modes.eq_t"),
        ("select 1 from modes join customer on eq_t = c_phone", "refused JOIN customer.c_phone"),
        ("select max(eq_n), eq_n + 1 from modes group by eq_n", "hidden hidden"),
        ("select count(*) from modes group by upper(eq_t)", "refused GROUP BY modes.eq_t"),
        ("select 1 from modes where (eq_n = 5) = true", "refused WHERE modes.eq_n"),
    ])
    .await;
}

#[tokio::test]
async fn any_allows_everything_but_showing() {
    check_all(&[
        ("select any_t, any_n from modes where any_n > 100 and any_t like 'y%' order by any_n", "redact null"),
        ("select upper(any_t), any_n + 1, sum(any_n) over (order by any_n) from modes", "redacted hidden hidden"),
        (
            "select upper(any_t), count(*), max(any_n) from modes group by upper(any_t) having max(any_n) > 1",
            "redacted - hidden",
        ),
        ("select distinct any_t, length(any_t) from modes", "redact redacted"),
        ("select count(case when any_n > 100 then 1 end) from modes", "-"),
        ("select 1 from modes join orders on any_n / 10 = o_orderkey", "-"),
        ("select 1 from (select any_n + 1 n from modes) where n > 5", "-"),
        ("select any_n + eq_n from modes where any_n + eq_n > 1", "refused WHERE modes.eq_n"),
        ("select any_n + eq_n from modes", "hidden"),
        ("select unnest(string_to_array(any_t, '-')) from modes", "redacted"),
    ])
    .await;
}

#[tokio::test]
async fn masked_predicates_see_the_mask() {
    check_all(&[
        ("select seen_r, seen_h, seen_p, seen_n from modes where seen_r = 'z' order by seen_h", "- - - -"),
        ("select upper(seen_p), max(seen_h) from modes group by seen_p", "- -"),
        ("select seen_h || c_phone from modes cross join customer", "hidden"),
        ("select * from modes", "- hash null redact null - - - -"),
    ])
    .await;
    let fixture = Fixture::new().await;
    let masks = fixture.trace("select seen_h, upper(seen_p), eq_t from modes").await.unwrap().masks;
    assert_eq!(masks.describe(), ["modes.eq_t:hash", "modes.seen_h:hash", "modes.seen_p:partial"]);
}

#[tokio::test]
async fn a_refusal_names_column_use_and_way_out() {
    let fixture = Fixture::new().await;
    let refusal = fixture.trace("select 1 from customer where c_phone = '25-989'").await.unwrap_err();
    assert_eq!(refusal.message(), "masked column \"customer.c_phone\" cannot be used in WHERE");
    assert_eq!(refusal.detail_line(), "code=masked_predicate; column=customer.c_phone; used_in=WHERE");
    assert_eq!(refusal.sqlstate().0, "42501");
    assert!(refusal.hint_line().unwrap().contains("count"));
}

#[tokio::test]
async fn the_journal_learns_which_masked_columns_left() {
    let fixture = Fixture::new().await;
    for (sql, expected) in [
        (
            "select c_phone, upper(c_name), c_acctbal + 1 from customer",
            "customer.c_acctbal:null customer.c_name:redact customer.c_phone:hash",
        ),
        ("select c_phone p, c_phone q, o_note from customer cross join orders", "customer.c_phone:hash"),
        ("select count(c_phone), min(c_comment) from customer", ""),
    ] {
        assert_eq!(fixture.trace(sql).await.unwrap().masks.describe().join(" "), expected, "{sql}");
    }
}

#[tokio::test]
async fn plans_without_masked_columns_return_as_they_are() {
    let fixture = Fixture::new().await;
    let sql = "select o_note, sum(o_total) over (order by o_orderkey) from orders where o_note like 'a%'";
    let (_, plan) = fixture.analysed(sql).await.unwrap();
    let traced = super::trace(plan.clone(), &fixture, &super::key()).unwrap();
    assert_eq!(traced.plan, plan);
    assert!(traced.masks.is_empty());
    assert_eq!(outcome(&fixture, "select c_custkey from customer").await, "-");
}

#[tokio::test]
async fn deep_plans_do_not_exhaust_the_stack() {
    let fixture = Fixture::new().await;
    let (_, plan) = fixture.analysed("select c_phone, c_comment from customer").await.unwrap();
    let mut deep = LogicalPlanBuilder::from(plan.clone());
    for _ in 0..1000 {
        deep = deep.project([col("c_phone"), col("c_comment")]).unwrap().alias("t").unwrap();
    }
    let mut wide = LogicalPlanBuilder::from(plan.clone());
    for _ in 0..500 {
        wide = wide.union(plan.clone()).unwrap();
    }
    let condition = (0..3000).map(|n| col("c_comment").not_eq(lit(n.to_string()))).reduce(Expr::or).unwrap();
    let plans = [deep.clone(), wide, deep.filter(condition).unwrap()];
    for plan in plans.map(|plan| plan.build().unwrap()) {
        let traced = std::thread::scope(|threads| {
            let small = std::thread::Builder::new().stack_size(1 << 20);
            small.spawn_scoped(threads, || super::trace(plan, &fixture, &super::key())).unwrap().join().unwrap()
        });
        assert_eq!(super::words(&traced.unwrap().masks), "hash -");
    }
}
