"""What is asked of both."""

#: Expressions over no table.
EXPRESSIONS = """
1
2147483647
2147483648
-2147483648
9223372036854775807
1 + 1
2147483647 + 1
2147483647::bigint + 1
9223372036854775807 + 1
32767::smallint + 1::smallint
2147483647 * 2
7 / 2
-7 / 2
7 % 3
-7 % 3
mod(-7, 3)
1 / 0
1 % 0
1.0 / 0
1.0 / 3
2.0 / 3.0
10 / 4.0
1e0 / 0e0
1::double precision / 0
'NaN'::double precision / 0
0::double precision / 0
1e308::double precision * 10
1e308::double precision + 1e308::double precision
1e-308::double precision / 1e10::double precision
1e-200::double precision * 1e-200::double precision
3e38::real * 10::real
'Infinity'::double precision + 1
'Infinity'::double precision - 'Infinity'::double precision
0.1::double precision + 0.2::double precision
0.1::real
1e20::double precision
1e15::double precision
123456789012345678::double precision
-0.0::double precision
1.5::integer
2.5::integer
-1.5::integer
-2.5::integer
0.5::integer
1.5::double precision::integer
2.5::double precision::integer
-2.5::double precision::integer
0.5::double precision::bigint
1.5::real::smallint
2147483647.4::integer
2147483647.5::integer
2147483648::double precision::integer
32768::smallint
-32769::smallint
40000::integer::smallint
9223372036854775807.5::bigint
9.3e18::double precision::bigint
'NaN'::double precision::integer
'Infinity'::double precision::bigint
1.005::numeric(10,2)
-1.005::numeric(10,2)
1.004999::numeric(10,2)
1.005::double precision::numeric(10,2)
2.675::double precision::numeric(10,2)
0.1::real::numeric(10,2)
99.995::numeric(4,2)
99.994::numeric(4,2)
100::numeric(4,2)
123456::numeric(5,2)
1e400::double precision
1e300::double precision::real
1e-60::double precision::real
true::integer
1::boolean
0::boolean
true::bigint
1::bigint::boolean
true::text
false::varchar
'yes'::boolean
'maybe'::boolean
'42'::integer
' 42 '::integer
'4 2'::integer
'1.5'::integer
''::integer
'99999999999'::integer
'1e3'::numeric(10,2)
'abc'::numeric
'1e3'::double precision
'abcdef'::varchar(3)
12345::varchar(3)
'abc'::text::varchar(2)
12::text || 'x'
1.50::text
1.5::double precision::text
1e20::double precision::text
0.1::real::text
12::text
NULL::integer
NULL + 1
1 = NULL
NULL IS NULL
1 = 1.0
1 = '1'
'1' = 1
'a' = 1
1 < 2.5
true > false
true = 1
1 + true
'a' < 'B'
'a' || NULL
'a' || 1
1 BETWEEN 0 AND 2
1 BETWEEN 2 AND 0
1 NOT IN (2, NULL)
1 IN (1, NULL)
1 IS DISTINCT FROM NULL
NULL IS NOT DISTINCT FROM NULL
NOT NULL::boolean
true AND NULL
false AND NULL
true OR NULL
CASE WHEN 1 = 1 THEN 1 ELSE 2 END
CASE WHEN 1 = 2 THEN 1 END
CASE 3 WHEN 1 THEN 'a' WHEN 3 THEN 'c' END
CASE WHEN true THEN 1 ELSE 2.5 END
CASE WHEN true THEN 1 ELSE 1 / 0 END
coalesce(NULL, 1, 2)
coalesce(NULL, 1.5, 2)
nullif(1, 1)
nullif(1, 2)
greatest(1, 2.5, NULL)
least(3, 1, NULL)
abs(-5)
abs(-5.5)
abs(-5::double precision)
abs(-2147483648)
sign(-2.5)
ceil(1.2)
ceil(-1.2)
floor(-1.2)
floor(1.7::double precision)
ceil(1)
round(2.5)
round(-2.5)
round(2.5::double precision)
round(3.5::double precision)
round(1.005, 2)
round(1234.567, -2)
round(15, -1)
round(2.5::double precision, 1)
round(1.5, 3)
trunc(2.7)
trunc(-2.7)
trunc(2.789, 2)
trunc(2.7::double precision)
sqrt(4)
sqrt(2::double precision)
sqrt(2.0)
sqrt(-1)
power(2, 10)
power(2::double precision, 0.5)
power(0, -1)
power(-8, 0.5)
power(10, 400)
2 ^ 3
exp(1)
exp(1000)
exp(-1000)
ln(0)
ln(-1)
ln(10)
log(100)
log(0)
pi()
degrees(pi())
gcd(12, 18)
lcm(4, 6)
-(-2147483648)
- 5
+ 5
5 & 3
5 | 3
5 # 3
1 << 4
~ 5
length('grüße')
char_length('abc')
octet_length('grüße')
upper('abc')
lower('ABC')
initcap('hello world')
substr('hello', 2)
substr('hello', 2, 3)
substr('hello', 0, 3)
substr('hello', -1, 3)
substring('hello' from 2 for 3)
substring('hello', 2)
left('hello', 2)
left('hello', -2)
right('hello', 2)
right('hello', -2)
position('l' in 'hello')
strpos('hello', 'z')
replace('hello', 'l', 'L')
trim('  a  ')
ltrim('xxa', 'x')
rtrim('axx', 'x')
btrim('xyaxy', 'xy')
lpad('5', 3, '0')
lpad('hello', 2)
rpad('5', 3)
repeat('ab', 3)
repeat('ab', -1)
reverse('abc')
split_part('a,b,c', ',', 2)
split_part('a,b,c', ',', -1)
split_part('a,b,c', ',', 9)
translate('12345', '143', 'ax')
concat('a', NULL, 1)
concat_ws(',', 'a', NULL, 'b')
ascii('A')
chr(65)
md5('a')
to_hex(255)
starts_with('hello', 'he')
'abc' LIKE 'a%'
'abc' LIKE 'a_c'
'a%c' LIKE 'a!%c' ESCAPE '!'
'abc' LIKE 'a!%c' ESCAPE '!'
'a!c' LIKE 'a!!c' ESCAPE '!'
'a\\c' LIKE 'a\\c' ESCAPE ''
'a_c' LIKE 'a\\_c'
'abc' LIKE 'a\\_c'
'ABC' ILIKE 'a!_c' ESCAPE '!'
'A_C' ILIKE 'a!_c' ESCAPE '!'
'abc' NOT LIKE 'b%' ESCAPE '#'
'abc' LIKE 'abc!' ESCAPE '!'
'abc' LIKE 'a' ESCAPE 'xy'
'abc' SIMILAR TO 'a%'
'abc' SIMILAR TO '(a|b)bc'
'abc' SIMILAR TO 'b%'
'abc' ~ 'b.'
'abc' !~ 'z'
'ABC' ~* 'b'
(1, 2) < (1, 3)
(1, 2) < (1, 2)
(1, 2) <= (1, 2)
(2, 1) > (1, 9)
(1, NULL) = (1, NULL)
(1, NULL) = (2, NULL)
(1, NULL) < (2, NULL)
(1, NULL) < (1, 2)
(1, 2) <> (1, 3)
(1, 2) IN ((1, 2), (3, 4))
(1, 2) NOT IN ((1, 3), (3, 4))
(1, NULL) IN ((1, 2))
(1, 2) = (1, 2, 3)
date '2024-02-29'
'2024-02-30'::date
'2024-13-01'::date
'nonsense'::date
'2024-02-29'::date + 1
'2024-02-29'::date - 1
1 + '2024-02-29'::date
date '2024-03-01' - date '2024-02-01'
date '2024-01-31' + interval '1 month'
date '2024-01-31' - interval '1 month'
date '2024-01-31' + time '03:04'
date '2024-01-01' < timestamp '2024-01-01 00:00:01'
date '2024-01-01' = timestamp '2024-01-01'
date '0044-03-15 BC'
timestamp '2024-01-31 10:00' + interval '1 month'
timestamp '2024-01-31 10:00' + interval '1 month 1 day 2 hours'
timestamp '2024-03-31' - interval '1 month'
timestamp '2024-01-02' - timestamp '2024-01-01 12:00'
timestamp '2024-01-01' - timestamp '2024-01-02 12:00'
timestamp '0044-03-15 12:00 BC' + interval '50 years'
timestamp '290000-01-01' + interval '10000 years'
timestamptz '2024-01-01 00:00+02' - timestamptz '2024-01-01 00:00+00'
timestamptz '2024-01-01 00:00+02'
timestamp '2024-01-01' - date '2023-12-31'
time '12:00' + interval '13 hours'
time '12:00' - interval '13 hours'
time '12:00' - time '10:30'
interval '1 month' = interval '30 days'
interval '1 day' = interval '24 hours'
interval '1 month' < interval '31 days'
interval '1 year' > interval '12 months'
interval '1 day' + interval '2 hours'
interval '1 month' - interval '1 day'
- interval '1 day 2 hours'
interval '1 day' * 1.5
interval '1 month' / 2
2 * interval '3 hours'
interval '1 day' / 0
interval '1 year 2 months 3 days 04:05:06.789'
interval '-1 day +02:00'
interval '1 day' BETWEEN interval '23 hours' AND interval '25 hours'
interval '1 day' IN (interval '24 hours')
interval '1 hour' > interval '59 minutes'
extract(year FROM date '2024-02-29')
extract(month FROM timestamp '2024-02-29 12:34:56')
extract(second FROM timestamp '2024-02-29 12:34:56.789')
extract(milliseconds FROM time '12:34:56.789')
extract(microseconds FROM time '12:34:56.789')
extract(epoch FROM timestamp '2024-02-29 12:34:56.789')
extract(epoch FROM interval '1 year 1 day')
extract(hour FROM interval '30 hours')
extract(day FROM interval '40 days 30 hours')
extract(week FROM date '2021-01-03')
extract(isoyear FROM date '2021-01-03')
extract(dow FROM date '2024-02-25')
extract(isodow FROM date '2024-02-25')
extract(doy FROM date '2024-12-31')
extract(quarter FROM date '2024-12-31')
extract(decade FROM date '2024-12-31')
extract(century FROM date '2000-12-31')
extract(century FROM date '2001-01-01')
extract(millennium FROM date '2001-01-01')
extract(year FROM date '0044-03-15 BC')
extract(century FROM date '0044-03-15 BC')
extract(julian FROM date '2024-01-01')
extract(hour FROM date '2024-01-01')
extract(fortnight FROM date '2024-01-01')
extract(timezone FROM timestamp '2024-01-01')
extract(year FROM timestamp '9999-12-31')
date_part('year', timestamp '2024-02-29')
date_part('epoch', timestamp '1500-01-01')
date_part('second', time '12:34:56.789')
date_trunc('month', timestamp '2024-02-29 12:34:56')
date_trunc('quarter', timestamp '2024-05-29 12:34:56')
date_trunc('week', timestamp '2024-02-29 12:34:56')
date_trunc('decade', timestamp '2024-02-29')
date_trunc('century', timestamp '2024-02-29')
date_trunc('millennium', timestamp '2024-02-29')
date_trunc('hour', timestamp '1500-02-28 12:34:56')
date_trunc('second', timestamp '9999-12-31 23:59:59.9')
date_trunc('day', interval '3 days 04:05:06')
date_trunc('year', interval '3 years 4 months')
date_trunc('fortnight', timestamp '2024-02-29')
date_trunc('day', timestamptz '2024-02-29 23:00+00', 'America/New_York')
age(timestamp '2024-03-01', timestamp '2024-01-15')
age(timestamp '2001-04-10', timestamp '1957-06-13')
age(timestamp '2024-01-15', timestamp '2024-03-01')
timestamp '2024-07-01 12:00' AT TIME ZONE 'America/New_York'
timestamptz '2024-07-01 12:00+00' AT TIME ZONE 'America/New_York'
timezone('Asia/Tokyo', timestamptz '2024-07-01 12:00+00')
timestamp '2024-07-01 12:00' AT TIME ZONE 'Mars/Base'
timestamp '2024-07-01 12:00'::date
timestamp '2024-07-01 12:00'::time
timestamp '2024-07-01 12:00'::text
timestamptz '2024-07-01 12:00+02'::text
date '2024-07-01'::text
date '2024-07-01'::timestamp
date '2024-07-01'::timestamptz
date '2024-07-01'::integer
time '12:00'::text
time '12:34:56'::interval
interval '1 day 2 hours'::text
interval '26 hours'::time
123::date
'x'::timestamp
'2024-01-01 25:00'::timestamp
to_char(timestamp '2024-05-07 14:03:09.012345', 'YYYY-MM-DD HH24:MI:SS.US')
to_char(timestamp '2024-05-07 14:03:09', 'yyyy-mm-dd hh12:mi:ss am')
to_char(timestamp '2024-05-07 14:03:09', 'Day, DD Month YYYY')
to_char(timestamp '2024-05-07 14:03:09', 'FMDay, FMDD FMMonth YYYY')
to_char(timestamp '2024-05-07 14:03:09', 'DDth Mon, IYYY-IW, Q, DDD, D, WW, W, CC, J')
to_char(timestamp '2024-05-07 14:03:09', '"at" HH24"h"MI')
to_char(date '2024-05-07', 'DY dy Dy MON mon Mon')
to_char(timestamp '0044-03-15 BC', 'YYYY BC')
to_char(timestamp '9999-12-31 23:59:59', 'YYYY SSSS MS FF3')
to_char(1234567.891, '9,999,999.99')
to_char(-12.5, '999.99')
to_char(12.5, 'FM999.00')
to_char(0.5, '0.9')
to_char(1234, '999')
to_char(125, '00000')
to_char(-125, 'S999')
to_char(125, '999MI')
to_date('05 Dec 2000', 'DD Mon YYYY')
to_date('2024-02-30', 'YYYY-MM-DD')
to_date('20240229', 'YYYYMMDD')
to_date('29/2/24', 'DD/MM/YY')
to_date('xx', 'YYYY')
to_date('2024-060', 'YYYY-DDD')
to_timestamp('05 Dec 2000 13:14:15', 'DD Mon YYYY HH24:MI:SS')
to_timestamp('2000    JUN', 'YYYY MON')
to_timestamp('02:30 PM 2024', 'HH12:MI AM YYYY')
to_timestamp(1284352323.5)
to_timestamp('12', 'HH24')
to_timestamp('25', 'HH24')
to_number('12,454.8-', '99G999D9S')
to_number('-34.5', 'S99D9')
to_number('1234', '9999')
make_date(2024, 2, 29)
make_date(2023, 2, 29)
'{"a": {"b": [1, 2.50]}}'::json -> 'a'
'{"a": {"b": [1, 2.50]}}'::json -> 'a' -> 'b' -> 1
'{"a": {"b": [1, 2.50]}}'::json -> 'a' ->> 'b'
'{"a": "x\\u00e9"}'::json ->> 'a'
'{"a": null}'::json ->> 'a'
'{"a": null}'::json -> 'a'
'[1, 2, 3]'::json -> -1
'[1, 2, 3]'::json -> 7
'[1, 2, 3]'::json ->> 0
'{"a": {"b": [1, "c"]}}'::json #> '{a,b}'
'{"a": {"b": [1, "c"]}}'::json #>> '{a,b,1}'
'{"a": 1}'::json #> '{b}'
'{a'::json
'{"a": 1}'::jsonb ->> 'a'
'{"a": "b"}'::jsonb -> 'a'
'a'::text -> 'b'
'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid
'A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11'::uuid
'not'::uuid
'\\x00ff'::bytea
'\\x00ff'::bytea::text
nosuchfunction(1)
upper(1, 2)
(SELECT 1 WHERE false)
(SELECT k FROM two WHERE k = 99)
(SELECT k FROM two WHERE k = 2)
(SELECT count(*) FROM none)
(SELECT max(k) FROM none)
(SELECT 1 FROM one WHERE k = 2)
(SELECT 'x'::text WHERE false)
coalesce((SELECT 1 WHERE false), 7)
(SELECT k, y FROM two)
EXISTS (SELECT 1 FROM none)
1 IN (SELECT k FROM two)
99 NOT IN (SELECT k FROM two)
1 = ANY (SELECT k FROM two)
99 > ALL (SELECT k FROM two WHERE k IS NOT NULL)
"""

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
