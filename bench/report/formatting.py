"""Numbers as text: as many digits as their interval supports."""

from __future__ import annotations

import math

ABSENT = "—"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def measurement(mean: float, half_width: float | None) -> str:
    """ "0.123 ± 0.004": the half-width to two digits, or one above 2, and the mean to the same place.

    Without a half-width the mean has three significant digits.
    """
    if not half_width or not math.isfinite(half_width):
        return number(mean)
    exponent = math.floor(math.log10(half_width))
    decimals = -exponent + (1 if half_width / 10**exponent < 2 else 0)
    if decimals > 5 and abs(mean) < 1e-3:
        shared = math.floor(math.log10(max(abs(mean), half_width)))
        scaled = measurement(mean / 10**shared, half_width / 10**shared)
        return f"({scaled})×10{str(shared).translate(SUPERSCRIPTS)}"
    places = max(decimals, 0)
    return f"{_signed(f'{mean:,.{places}f}')} ± {half_width:,.{places}f}"


def number(value: float, *, signed: bool = False) -> str:
    """Three significant digits: 1,234 and 12.3 and 0.00123 and 1.2×10⁻⁵; `signed` has a plus before a positive one."""
    if signed and value > 0:
        return f"+{number(value)}"
    if not math.isfinite(value):
        return str(value)
    magnitude = math.floor(math.log10(abs(float(f"{value:.3g}")))) if value else 0
    if magnitude < -4 or magnitude > 6:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{_signed(mantissa)}×10{str(int(exponent)).translate(SUPERSCRIPTS)}"
    return _signed(f"{value:,.{max(2 - magnitude, 0)}f}")


def duration(seconds: float | None) -> str:
    """A time in the unit one would say it in."""
    if seconds is None or math.isnan(seconds):
        return ABSENT
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    if seconds < 0.1:
        return "< 0.1 s"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def memory(size: float | None) -> str:
    """Bytes as MiB or GiB."""
    if size is None or math.isnan(size):
        return ABSENT
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def count(value: float | None) -> str:
    """A whole number with thousands apart."""
    return ABSENT if value is None or math.isnan(value) else f"{int(value):,}"


def unit(text: str) -> str:
    """The unit where it is one; a range such as "0 to 1" is left to the notes under the tables."""
    return "" if any(character.isdigit() for character in text) else text


def _signed(text: str) -> str:
    return text.replace("-", "−")
