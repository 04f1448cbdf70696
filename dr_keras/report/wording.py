"""Numbers as a reader wants them: rounded, with their interval, a dash where nothing is defined."""

import math

UNDEFINED = "–"


def number(value, digits=2, sign=False):
    """Rounds: 0.914 becomes "0.91", with `sign` "+0.91"; None and NaN become a dash."""
    if value is None or math.isnan(value):
        return UNDEFINED
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def percent(share):
    """0.914 becomes "91 %"; None and NaN become a dash."""
    rounded = number(None if share is None else 100 * share, 0)
    return rounded if rounded == UNDEFINED else f"{rounded} %"


def interval_text(interval, digits=2, sign=False):
    """`{"value", "low", "high"}` becomes "0.91 (0.88 to 0.93)"."""
    value, low, high = (number(interval[key], digits, sign) for key in ("value", "low", "high"))
    return value if low == high == UNDEFINED else f"{value} ({low} to {high})"


def share_text(interval):
    """An interval between 0 and 1 becomes "91 % (88 to 93)"."""
    value, low, high = (percent(interval[key]) for key in ("value", "low", "high"))
    if low == high == UNDEFINED:
        return value
    return f"{value} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"
