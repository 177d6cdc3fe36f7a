"""What is asked of both."""

from expressions import EXPRESSIONS

#: Whole statements.
QUERIES = """
SELECT id, i2 + 1, i4 - 1, i8 FROM numbers WHERE id IN (1, 2, 5, 6) ORDER BY id
SELECT i4 + 1 FROM numbers WHERE id = 3
SELECT i8 - 1 FROM numbers WHERE id = 4
SELECT -i4 FROM numbers WHERE id = 4
SELECT i2 * i2 FROM numbers WHERE id = 3
SELECT id, d::integer, f8::text, f4 FROM numbers WHERE id NOT IN (3, 4) ORDER BY id
SELECT id, d::integer FROM numbers ORDER BY id
SELECT id, f8::integer FROM numbers WHERE abs(f8) < 1e9 ORDER BY id
SELECT f8::integer FROM numbers
SELECT id, d::numeric(12,1), d::bigint, i4::double precision FROM numbers ORDER BY id
SELECT id, i4 / nullif(i2, 0) FROM numbers WHERE id <> 4 ORDER BY id
SELECT i4 / i2 FROM numbers
SELECT f8 / f4 FROM numbers WHERE id IN (1, 5)
SELECT id, f8 * f4, f8 + f4 FROM numbers WHERE id NOT IN (3, 4) ORDER BY id
SELECT f8 * f8 FROM numbers
SELECT id FROM numbers WHERE d > 1 AND i4 < 100 ORDER BY id
SELECT id FROM numbers WHERE i4 = 7.0 ORDER BY id
SELECT id FROM numbers WHERE i8 = i4 ORDER BY id
SELECT id, i4 % 3, d % 1 FROM numbers WHERE id < 3 ORDER BY id
SELECT count(*), count(i4), count(DISTINCT i4) FROM numbers
SELECT sum(i2), sum(i4) FROM numbers
SELECT sum(i8) FROM numbers
SELECT sum(m) FROM sales
SELECT g, sum(m), sum(n), avg(n), avg(m) FROM sales GROUP BY g ORDER BY g
SELECT g, sum(d), avg(d), min(d), max(d) FROM sales GROUP BY g ORDER BY g
SELECT g, sum(f), avg(f), min(f), max(f) FROM sales GROUP BY g ORDER BY g
SELECT avg(i2), avg(i4) FROM numbers WHERE id < 3
SELECT sum(n) FROM sales WHERE g = 'none'
SELECT avg(n), max(g), count(n) FROM sales WHERE g = 'none'
SELECT sum(DISTINCT n), avg(DISTINCT n), count(DISTINCT d) FROM sales
SELECT sum(n) FILTER (WHERE n > 1), count(*) FILTER (WHERE g = 'x') FROM sales
SELECT sum(CASE WHEN n > 1 THEN 1 ELSE 0 END) FROM sales
SELECT sum(1), count(1), max(1) FROM sales
SELECT sum(n) / count(*) FROM sales
SELECT avg(n) * 2, sum(d) / count(d) FROM sales
SELECT bool_and(n > 0), bool_or(n > 6), every(n > 0) FROM sales
SELECT string_agg(g, ',' ORDER BY g) FROM sales
SELECT array_agg(n ORDER BY n) FROM sales WHERE n IS NOT NULL
SELECT stddev_samp(f), var_pop(f) FROM sales
SELECT stddev(n), variance(n) FROM sales
SELECT corr(n, f), covar_pop(n, f) FROM sales
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY f) FROM sales
SELECT mode() WITHIN GROUP (ORDER BY n) FROM sales
SELECT min(t), max(t) FROM words
SELECT max(d), min(ts), max(tz), min(ti) FROM times
SELECT min(iv), max(iv) FROM times WHERE id IN (3, 5, 7)
SELECT g, count(*) FROM sales GROUP BY g HAVING count(*) > 1 ORDER BY g
SELECT g, n, count(*) FROM sales GROUP BY ROLLUP (g, n) ORDER BY g NULLS LAST, n NULLS LAST
SELECT g, n, sum(d) FROM sales GROUP BY GROUPING SETS ((g), (n), ()) ORDER BY g NULLS LAST, n NULLS LAST
SELECT n % 2, count(*) FROM sales GROUP BY n % 2 ORDER BY 1
SELECT g FROM sales GROUP BY g ORDER BY count(*) DESC, g
SELECT n, g FROM sales GROUP BY g
SELECT count(*) FROM sales GROUP BY 2
SELECT sum(n) FROM sales WHERE sum(n) > 1
SELECT g, n, row_number() OVER (PARTITION BY g ORDER BY n, d) FROM sales ORDER BY g, n, 3
SELECT g, n, rank() OVER (ORDER BY n), dense_rank() OVER (ORDER BY n) FROM sales ORDER BY n, g
SELECT g, n, sum(n) OVER (PARTITION BY g ORDER BY n) FROM sales ORDER BY g, n
SELECT g, n, sum(m) OVER (PARTITION BY g) FROM sales ORDER BY g, n
SELECT g, n, avg(n) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM sales WHERE n IS NOT NULL ORDER BY n, g
SELECT g, n, lag(n) OVER (ORDER BY n, g), lead(n, 2) OVER (ORDER BY n, g), lag(n, 1, 0) OVER (ORDER BY n, g) FROM sales ORDER BY n, g
SELECT n, first_value(n) OVER w, last_value(n) OVER w, nth_value(n, 2) OVER w FROM sales WINDOW w AS (ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) ORDER BY n
SELECT n, ntile(2) OVER (ORDER BY n), percent_rank() OVER (ORDER BY n), cume_dist() OVER (ORDER BY n) FROM sales ORDER BY n
SELECT count(*) OVER () FROM sales
SELECT row_number() OVER (ORDER BY n) + 1 FROM sales WHERE g = 'y' ORDER BY 1
SELECT r FROM (SELECT n, rank() OVER (ORDER BY n) AS r FROM sales) q WHERE r <= 2 ORDER BY r
SELECT one.k, x, y FROM one JOIN two ON one.k = two.k ORDER BY 1, 2, 3
SELECT k, x, y FROM one JOIN two USING (k) ORDER BY 1, 2, 3
SELECT k, x, y FROM one LEFT JOIN two USING (k) ORDER BY 1, 2, 3
SELECT k, x, y FROM one RIGHT JOIN two USING (k) ORDER BY 1, 2, 3
SELECT k, count(*) FROM one RIGHT OUTER JOIN two USING (k) GROUP BY k ORDER BY k
SELECT k FROM one NATURAL RIGHT JOIN two ORDER BY k
SELECT q.k, x, y FROM (SELECT k FROM one GROUP BY k) q JOIN one ON q.k = one.k RIGHT JOIN two ON two.k = q.k ORDER BY 1, 2, 3
SELECT one.k, two.k FROM one FULL JOIN two ON one.k = two.k ORDER BY 1, 2
SELECT * FROM one NATURAL JOIN two ORDER BY 1, 2, 3
SELECT count(*) FROM one CROSS JOIN two
SELECT count(*) FROM one, two WHERE one.k < two.k
SELECT x FROM one WHERE EXISTS (SELECT 1 FROM two WHERE two.k = one.k) ORDER BY x
SELECT x FROM one WHERE k NOT IN (SELECT k FROM two WHERE k IS NOT NULL) ORDER BY x
SELECT x FROM one WHERE k NOT IN (SELECT k FROM two) ORDER BY x
SELECT x, (SELECT max(y) FROM two WHERE two.k = one.k) FROM one ORDER BY k, x
SELECT x, (SELECT count(*) FROM two WHERE two.k = one.k) FROM one ORDER BY k, x
SELECT x, (SELECT y FROM two WHERE two.k = one.k) FROM one WHERE k = 1
SELECT x, (SELECT y FROM two WHERE two.k = one.k) FROM one
SELECT x FROM one WHERE k = (SELECT max(k) FROM none) ORDER BY x
SELECT x FROM one WHERE k > (SELECT k FROM none) ORDER BY x
SELECT x, l.y FROM one, LATERAL (SELECT y FROM two WHERE two.k = one.k) l ORDER BY 1, 2
SELECT a.v, (SELECT count(*) FROM two WHERE two.k = a.v) FROM (SELECT 1 AS v UNION ALL SELECT 2) a ORDER BY 1
SELECT k FROM one WHERE (k, x) = (1, 'a')
SELECT k FROM one WHERE (k, x) IN ((1, 'a'), (2, 'b')) ORDER BY k
SELECT k FROM one WHERE (k, x) > (1, 'a') ORDER BY k
SELECT one.k FROM one JOIN two ON (one.k, x) = (two.k, y) ORDER BY 1
SELECT k FROM one UNION SELECT k FROM two ORDER BY k
SELECT k FROM one UNION ALL SELECT k FROM two ORDER BY k
SELECT k FROM one INTERSECT SELECT k FROM two ORDER BY k
SELECT k FROM one EXCEPT SELECT k FROM two ORDER BY k
SELECT k FROM one INTERSECT ALL SELECT k FROM two ORDER BY k
SELECT k FROM two INTERSECT ALL SELECT k FROM two ORDER BY k
SELECT k FROM one EXCEPT ALL SELECT k FROM two ORDER BY k
SELECT k, x FROM one EXCEPT ALL SELECT k, y FROM two ORDER BY k, x
SELECT k FROM two EXCEPT ALL SELECT k FROM one ORDER BY k
SELECT count(*) FROM (SELECT k FROM one EXCEPT ALL SELECT k FROM two) q
(SELECT DISTINCT k FROM one) EXCEPT ALL SELECT k FROM two ORDER BY k
SELECT 1 UNION SELECT 2.5 ORDER BY 1
SELECT 1 UNION SELECT 'a'
SELECT 1, 2 UNION SELECT 1
SELECT NULL UNION SELECT 1 ORDER BY 1
SELECT 1 UNION ALL SELECT 3000000000 ORDER BY 1
VALUES (1, 'a'), (2, 'b')
SELECT column1 + 1 FROM (VALUES (1), (2)) v ORDER BY 1
SELECT a + 1, b FROM (VALUES (1, 2.5), (2, NULL)) v(a, b) ORDER BY 1
SELECT DISTINCT k FROM one ORDER BY k
SELECT DISTINCT ON (k) k, x FROM one ORDER BY k, x
SELECT count(DISTINCT k) FROM one
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n FROM t ORDER BY n
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n) FROM t
WITH q AS (SELECT 1 AS a) SELECT a + 1 FROM q
SELECT n FROM generate_series(1, 3) n ORDER BY n
SELECT k FROM one ORDER BY k DESC NULLS LAST LIMIT 2 OFFSET 1
SELECT k FROM one ORDER BY k LIMIT -1
SELECT id FROM times WHERE iv = interval '30 days' ORDER BY id
SELECT id FROM times WHERE iv > interval '29 days' ORDER BY id
SELECT id, iv FROM times ORDER BY iv, id
SELECT id FROM times ORDER BY iv DESC, id
SELECT count(DISTINCT iv) FROM times
SELECT count(*) FROM (SELECT DISTINCT iv FROM times) q
SELECT count(*) FROM times GROUP BY iv ORDER BY 1
SELECT min(id), count(*) FROM times GROUP BY iv ORDER BY 1
SELECT a.id, b.id FROM times a JOIN times b ON a.iv = b.iv AND a.id < b.id ORDER BY 1, 2
SELECT count(*) FROM (SELECT iv FROM times UNION SELECT interval '1 month') q
SELECT id, rank() OVER (ORDER BY iv) FROM times ORDER BY id
SELECT id, count(*) OVER (PARTITION BY iv) FROM times ORDER BY id
SELECT id, d, ts, ti FROM times ORDER BY id
SELECT id, extract(year FROM d), extract(epoch FROM ts), date_trunc('year', ts) FROM times ORDER BY id
SELECT id, d + 1, ts + interval '1 month', ts - interval '1 day' FROM times ORDER BY id
SELECT id, to_char(ts, 'YYYY-MM-DD HH24:MI:SS.US BC'), ts::date, ts::text, ts::time FROM times ORDER BY id
SELECT id, d = ts::date, ts < timestamp '1600-01-01', d < '1600-01-01' FROM times ORDER BY id
SELECT id, ts - timestamp '1970-01-01' FROM times ORDER BY id
SELECT id, date_part('dow', ts), extract(week FROM d) FROM times ORDER BY id
SELECT id FROM times WHERE d BETWEEN '1400-01-01' AND '2024-02-29' ORDER BY id
SELECT id FROM times WHERE d + interval '1 day' = '2024-01-01' ORDER BY id
SELECT id FROM times WHERE d > timestamp '2024-02-28 12:00' ORDER BY id
SELECT id FROM times WHERE d >= date '2023-12-31' - interval '1 year' AND d < date '2024-12-31' ORDER BY id
SELECT id FROM times WHERE d IN ('2024-02-29', '1970-01-01') ORDER BY id
SELECT date_trunc('century', ts) AS c, count(*) FROM times GROUP BY 1 ORDER BY 1
SELECT id, ti + interval '1 hour', ti - time '00:30' FROM times ORDER BY id
SELECT id, iv * 2, iv + interval '1 day', -iv FROM times ORDER BY id
SELECT id, extract(epoch FROM iv) FROM times ORDER BY id
SELECT id FROM words WHERE t LIKE '%!%' ESCAPE '!' ORDER BY id
SELECT id FROM words WHERE t LIKE '%!%%' ESCAPE '!' ORDER BY id
SELECT id FROM words WHERE t ILIKE 'B%' ORDER BY id
SELECT id FROM words WHERE t LIKE 'de!_%' ESCAPE '!' ORDER BY id
SELECT id FROM words WHERE t NOT LIKE 'a%' ORDER BY id
SELECT id, upper(v), length(t), t || v FROM words ORDER BY id
SELECT id, t::integer FROM words WHERE id = 8
SELECT t::integer FROM words
SELECT id FROM words WHERE t = 42
SELECT id FROM words WHERE t = '42'
SELECT t FROM words ORDER BY t
SELECT t FROM words ORDER BY t COLLATE "C"
SELECT id, v::varchar(2) FROM words ORDER BY id
SELECT id, v = 'one', v < t FROM words ORDER BY id
SELECT id, j -> 'a', j ->> 's', j -> 'b' -> 'c' -> 0, j #>> '{b,c,2,d}' FROM docs ORDER BY id
SELECT id, j -> 0, j ->> 1, j -> 2 -> 0 FROM docs ORDER BY id
SELECT id FROM docs WHERE j ->> 'a' = '1' ORDER BY id
SELECT (j ->> 'a')::integer + 1 FROM docs WHERE id = 1
SELECT nosuch FROM one
SELECT k FROM nosuch
SELECT one.k, one.k FROM one, one
SELECT k FROM one JOIN two ON true
SELEC 1
SELECT * FROM one WHERE k = 'a'
SELECT * FROM one WHERE x
SELECT sum(x) FROM one
SELECT max(k, x) FROM one
SELECT x + 1 FROM one
SELECT k FROM one GROUP BY x
SELECT 1 AS a ORDER BY b
INSERT INTO none VALUES (1.5, 'x', 1.005)
SELECT k, x, d FROM none
INSERT INTO none VALUES (2147483648, 'x', 1)
INSERT INTO none VALUES ('a', 'x', 1)
INSERT INTO none VALUES (1, 'x', 123456789)
INSERT INTO none SELECT 2.5::double precision, 'y', 2.675::double precision
INSERT INTO none SELECT i8, 'y', 1 FROM numbers WHERE id = 3
SELECT k, d FROM none WHERE x = 'y'
UPDATE none SET k = k / 0
UPDATE none SET k = 2147483647.4
SELECT DISTINCT k FROM none
DELETE FROM none WHERE k / 0 = 1
DELETE FROM none
"""

#: What the session's time zone changes.
IN_ZONE_EXPRESSIONS = """
timestamptz '2024-07-01 12:00'
timestamptz '2024-07-01 12:00+00'
timestamptz '2024-03-10 02:30'
timestamptz '2024-11-03 01:30'
'2024-07-01 12:00'::timestamp::timestamptz
'2024-07-01 12:00+00'::timestamptz::timestamp
'2024-07-01 23:00+00'::timestamptz::date
'2024-07-01 23:00+00'::timestamptz::time
'2024-07-01 23:00+00'::timestamptz::text
date '2024-07-01'::timestamptz
timestamptz '2024-07-01 00:00' = timestamp '2024-07-01 00:00'
timestamptz '2024-07-01 00:00' = date '2024-07-01'
timestamptz '2024-07-01 12:00+00' > '2024-07-01 10:00'
extract(hour FROM timestamptz '2024-07-01 12:00+00')
extract(day FROM timestamptz '2024-07-01 23:30+00')
extract(timezone FROM timestamptz '2024-07-01 12:00+00')
extract(timezone_hour FROM timestamptz '2024-07-01 12:00+00')
extract(timezone_minute FROM timestamptz '2024-07-01 12:00+00')
extract(epoch FROM timestamptz '2024-07-01 12:00')
date_part('hour', timestamptz '2024-01-01 12:00+00')
date_trunc('day', timestamptz '2024-07-01 02:00+00')
date_trunc('day', date '2024-07-01')
date_trunc('month', timestamptz '2024-03-10 12:00+00')
date_trunc('hour', timestamptz '1500-07-01 12:34+00')
timestamptz '2024-03-09 12:00' + interval '1 day'
timestamptz '2024-03-09 12:00' + interval '24 hours'
timestamptz '2024-03-10 12:00' - interval '1 month'
timestamptz '2024-07-01' - timestamptz '2024-01-01'
timestamptz '2024-07-01' - date '2024-01-01'
to_char(timestamptz '2024-07-01 12:00+00', 'YYYY-MM-DD HH24:MI:SS OF TZH:TZM')
to_timestamp('2024-07-01 12:00', 'YYYY-MM-DD HH24:MI')
to_timestamp(0)
age(timestamptz '2024-07-01 12:00+00', timestamptz '2024-01-01 12:00+00')
timestamptz '2024-07-01 12:00+00' AT TIME ZONE 'Asia/Tokyo'
timestamp '2024-07-01 12:00' AT TIME ZONE 'Asia/Tokyo'
now()::date = current_date
localtimestamp = now()::timestamp
"""

IN_ZONE_QUERIES = """
SELECT id, tz, tz::date, tz::text, extract(hour FROM tz), date_trunc('day', tz) FROM times ORDER BY id
SELECT id FROM times WHERE tz >= '2024-02-29' AND tz < '2024-03-11' ORDER BY id
SELECT id FROM times WHERE tz > timestamp '2023-12-31 20:00' ORDER BY id
SELECT id FROM times WHERE tz > ts ORDER BY id
SELECT id FROM times WHERE tz::date = d ORDER BY id
SELECT tz::date, count(*) FROM times GROUP BY 1 ORDER BY 1
"""

ZONES = ["America/New_York", "Asia/Kolkata"]


def lines(text):
    return [line for line in text.strip().splitlines() if line]


STATEMENTS = [f"SELECT {line}" for line in lines(EXPRESSIONS)] + lines(QUERIES)
IN_ZONES = [f"SELECT {line}" for line in lines(IN_ZONE_EXPRESSIONS)] + lines(IN_ZONE_QUERIES)
