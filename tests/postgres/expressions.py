"""Expressions that both are asked for."""

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
