"""Statements that Weir does not answer as PostgreSQL does, and why. README.md's "Limits" names what matters most."""

FLOATS = "roots, logarithms, deviations and variances of numerics are double precision"
VALUES = "IN, ANY and ALL of a subquery are conditions, not values"
ALONE = "a subquery of one value that refers to the query around it needs an aggregate"

DIFFERENT = {
    "SELECT false::varchar": "varchar without a length is text",
    "SELECT sqrt(2.0)": FLOATS,
    "SELECT stddev(n), variance(n) FROM sales": FLOATS,
    "SELECT -(-2147483648)": "a literal negated twice is computed as an integer",
    "SELECT ~ 5": "the operator ~ is not built",
    "SELECT 'abc' LIKE 'abc!' ESCAPE '!'": "a pattern that ends in its escape character is refused at once",
    "SELECT mode() WITHIN GROUP (ORDER BY n) FROM sales": "mode() is not built",
    "SELECT n, ntile(2) OVER (ORDER BY n), percent_rank() OVER (ORDER BY n), cume_dist() OVER (ORDER BY n) FROM sales ORDER BY n": "ntile is a bigint",
    "SELECT 1 IN (SELECT k FROM two)": VALUES,
    "SELECT 99 NOT IN (SELECT k FROM two)": VALUES,
    "SELECT 1 = ANY (SELECT k FROM two)": VALUES,
    "SELECT 99 > ALL (SELECT k FROM two WHERE k IS NOT NULL)": VALUES,
    "SELECT x, (SELECT y FROM two WHERE two.k = one.k) FROM one WHERE k = 1": ALONE,
    "SELECT x, (SELECT y FROM two WHERE two.k = one.k) FROM one": ALONE,
    "SELECT t FROM words ORDER BY t COLLATE \"C\"": "COLLATE is not built; texts are ordered by their bytes",
}
