"""Ordinary questions, answered as PostgreSQL does; and an agent per airline that sees its own flights only."""

import psycopg
import pytest
from answers import same_rows

QUESTIONS = {
    "how many": "SELECT count(*), count(dep_delay), count(DISTINCT tailnum) FROM flights",
    "delay by month": "SELECT month, count(*), avg(dep_delay), avg(arr_delay) FROM flights GROUP BY month ORDER BY month",
    "delay by carrier": "SELECT a.name, avg(f.arr_delay) AS late FROM flights f JOIN airlines a USING (carrier) GROUP BY a.name ORDER BY late DESC, a.name",
    "worst routes": "SELECT origin, dest, count(*) AS n, avg(arr_delay) AS late FROM flights GROUP BY origin, dest HAVING count(*) > 100 ORDER BY late DESC, origin, dest LIMIT 20",
    "busiest days": "SELECT year, month, day, count(*) AS n FROM flights GROUP BY year, month, day ORDER BY n DESC, year, month, day LIMIT 10",
    "cancelled": "SELECT month, sum(CASE WHEN dep_time IS NULL THEN 1 ELSE 0 END) AS cancelled, count(*) FROM flights GROUP BY month ORDER BY month",
    "by hour": "SELECT hour, avg(dep_delay), max(dep_delay), min(dep_delay) FROM flights GROUP BY hour ORDER BY hour",
    "medians": "SELECT carrier, percentile_cont(0.5) WITHIN GROUP (ORDER BY arr_delay) FROM flights WHERE arr_delay IS NOT NULL GROUP BY carrier ORDER BY carrier",
    "deviation": "SELECT carrier, stddev_samp(dep_delay), var_pop(dep_delay) FROM flights GROUP BY carrier HAVING count(dep_delay) > 1 ORDER BY carrier",
    "old planes": "SELECT p.manufacturer, count(*) AS n, avg(f.dep_delay) FROM flights f JOIN planes p USING (tailnum) WHERE p.year < 1990 GROUP BY p.manufacturer ORDER BY n DESC, p.manufacturer",
    "no plane known": "SELECT count(*) FROM flights f LEFT JOIN planes p ON p.tailnum = f.tailnum WHERE p.tailnum IS NULL",
    "anti join": "SELECT count(*) FROM flights f WHERE NOT EXISTS (SELECT 1 FROM planes p WHERE p.tailnum = f.tailnum)",
    "weather and delay": "SELECT w.origin, count(*), avg(f.dep_delay) FROM flights f JOIN weather w ON w.origin = f.origin AND w.time_hour = f.time_hour WHERE w.precip > 0.1 GROUP BY w.origin ORDER BY w.origin",
    "wind": "SELECT f.origin, f.month, avg(w.wind_speed), corr(w.wind_speed, f.dep_delay) FROM flights f JOIN weather w USING (origin, time_hour) GROUP BY f.origin, f.month ORDER BY 1, 2",
    "rank": "SELECT carrier, dest, n, r FROM (SELECT carrier, dest, count(*) AS n, rank() OVER (PARTITION BY carrier ORDER BY count(*) DESC) AS r FROM flights GROUP BY carrier, dest) q WHERE r <= 2 ORDER BY carrier, r, dest",
    "running total": "SELECT month, n, sum(n) OVER (ORDER BY month) FROM (SELECT month, count(*) AS n FROM flights GROUP BY month) q ORDER BY month",
    "previous flight": "SELECT tailnum, time_hour, dep_delay, lag(dep_delay) OVER (PARTITION BY tailnum ORDER BY time_hour, flight) FROM flights WHERE tailnum IN ('N14228', 'N24211') ORDER BY tailnum, time_hour, flight",
    "moving average": "SELECT day, avg(n) OVER (ORDER BY day ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM (SELECT day, count(*) AS n FROM flights WHERE month = 1 GROUP BY day) q ORDER BY day",
    "far airports": "SELECT a.name, max(f.distance) AS far FROM flights f JOIN airports a ON a.faa = f.dest GROUP BY a.name ORDER BY far DESC, a.name LIMIT 5",
    "speed": "SELECT carrier, avg(distance / (air_time / 60.0)) FROM flights WHERE air_time > 0 GROUP BY carrier ORDER BY carrier",
    "united": "SELECT origin, dest FROM flights WHERE carrier = 'UA' INTERSECT SELECT origin, dest FROM flights WHERE carrier = 'AA' ORDER BY 1, 2",
    "by week": "SELECT date_trunc('week', time_hour) AS week, count(*) FROM flights GROUP BY 1 ORDER BY 1",
    "weekdays": "SELECT extract(dow FROM time_hour) AS weekday, count(*) FROM flights GROUP BY 1 ORDER BY 1",
    "text": "SELECT upper(substr(name, 1, 3)), length(name), name LIKE '%Air%' FROM airlines ORDER BY carrier",
    "cte": "WITH late AS (SELECT carrier, count(*) AS n FROM flights WHERE arr_delay > 60 GROUP BY carrier), every AS (SELECT carrier, count(*) AS n FROM flights GROUP BY carrier) SELECT e.carrier, coalesce(l.n, 0) * 100.0 / e.n FROM every e LEFT JOIN late l USING (carrier) ORDER BY e.carrier",
    "rollup": "SELECT origin, month, count(*) FROM flights GROUP BY ROLLUP (origin, month) ORDER BY origin NULLS LAST, month NULLS LAST",
    "string_agg": "SELECT origin, string_agg(DISTINCT carrier, ',' ORDER BY carrier) FROM flights GROUP BY origin ORDER BY origin",
}


def test_every_row_arrived(admin, oracle):
    for table in ("airlines", "airports", "planes", "weather", "flights"):
        count = admin.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert count == oracle.execute(f"SELECT count(*) FROM {table}").fetchone(), table
    assert admin.execute("SELECT count(*) FROM flights").fetchone() == (336_776,)


@pytest.mark.parametrize("question", QUESTIONS)
def test_as_postgres_answers(admin, oracle, question):
    sql = QUESTIONS[question]
    assert same_rows(admin.execute(sql).fetchall(), oracle.execute(sql).fetchall()) is None, sql


def test_an_agent_per_airline(weir, admin):
    by_carrier = dict(admin.execute("SELECT carrier, count(*) FROM flights GROUP BY carrier").fetchall())
    seen = 0
    for carrier in weir.carriers:
        with psycopg.connect(weir.issue_key("skies", f"a_{carrier.lower()}")) as agent:
            found = agent.execute("SELECT carrier, count(*) FROM flights GROUP BY carrier").fetchall()
            assert found == ([(carrier, by_carrier[carrier])] if carrier in by_carrier else [])
            seen += sum(count for _, count in found)
            join = "SELECT DISTINCT f.carrier FROM flights f JOIN planes p USING (tailnum) JOIN weather w ON w.origin = f.origin"
            assert agent.execute(join).fetchall() in ([(carrier,)], [])
    assert seen == 336_776
