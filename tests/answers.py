"""Whether two servers gave the same answer: values compare as numbers to a relative 1e-9, else as they are."""

import datetime
import decimal
import math


def plain(value):
    if isinstance(value, bool):
        return value
    if isinstance(value, (decimal.Decimal, int, float)):
        return float(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(datetime.timezone.utc)
    return value.rstrip() if isinstance(value, str) else value


def same_value(left, right, tolerance=1e-9):
    left, right = plain(left), plain(right)
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance) or (math.isnan(left) and math.isnan(right))
    return left == right


def same_rows(left, right, tolerance=1e-9):
    """None when equal, else what differs first."""
    if len(left) != len(right):
        return f"{len(left)} rows and {len(right)} rows"
    for number, (a, b) in enumerate(zip(left, right)):
        if len(a) != len(b) or not all(same_value(x, y, tolerance) for x, y in zip(a, b)):
            return f"row {number}: {a} and {b}"
    return None
