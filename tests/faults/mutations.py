"""Random damage to files: what disks, editors, foreign programs and people who mean harm make of them.

Every function takes its random numbers as a numpy Generator: the same seed gives the same damage.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

DEEP = 2_000
"""Levels of nesting: more than Python's recursion allows."""
TOML_VALUES = (
    *("true", "false", '""', "[]", "{}", "-1", "0", "1", "-0.0", "1e308", "1e400", "nan", "inf", "-inf", "5e-324"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "1" + 400 * "0", "1" + 5_000 * "0"),
    *("1979-05-27T07:32:00Z", "07:32:00", "2026-02-30", "0x7fffffffffffffff", "0b1", "0o17", "1_000_000", "01"),
    *("[1, 'a', {}, [], true, 1.5]", "[[[[1]]]]", "[nan, nan]", "['', '']", "[1, 1]", "[1, 1.0]", "[true, 1]"),
    *("'../../etc/passwd'", '"\\u0000"', '"\\u001b[31mred\\u001b[0m"', '"\\U0001F600"', '"\\ud800"', '"<script>"'),
    *("'os:system'", "'bench.cli:main'", "'no.such.module:Class'", "':'", "'.:.'", "'..:x'", "'\u202eabc'"),
    *("1_000_000_000", "10_000_000_000_000", "[0, 1_000_000_000_000]", f"[{', '.join(map(str, range(3_000)))}]"),
    "{ distribution = 'uniform', low = 0, high = 1, draws = 3 }",
    "{ distribution = 'uniform', low = 0, high = 1, draws = 1_000_000_000 }",
    "{ distribution = 'integer', low = 1, high = 1e300, draws = 3 }",
    "{ distribution = 'integer', low = 1.5, high = 1.6, draws = 3 }",
    "{ distribution = 'uniform', low = -1e308, high = 1e308, draws = 3 }",
    "{ distribution = 'log-uniform', low = 1e-320, high = 1e308, draws = 3 }",
    "{ distribution = [], low = {}, high = '', draws = [] }",
    DEEP * "[" + DEEP * "]",
    DEEP * "{a=" + "1" + DEEP * "}",
)
"""What stands in place of a value."""
TOML_NAMES = (
    *("x", "a.b.c", '""', "'../..'", '"\\u0000"', '"\\u001b]0;title\\u0007"', "été", "'été'", "1", "-", "quick.paper"),
    *("__class__", "'name with spaces'", "'<script>alert(1)</script>'", "self", "latent_dim", "lr", 300 * "long"),
    *(".".join(["deep"] * DEEP), "'os:system'", "distribution", "'CON'", "'a/b'"),
)
"""What stands in place of a key or a part of a heading."""
ASSIGNMENT = re.compile(r"([\w-]+) *= *((?:\"[^\"\n]*\"|\[[^\]\n]*\]|[^,\s{}\]#\n]+))")
"""A key and its value, also within tables of one line."""
HEADING = re.compile(r"^\[([^\]\n]+)\]", re.MULTILINE)


def flip_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Up to 8 bytes become others."""
    damaged = bytearray(content)
    for place in rng.integers(len(damaged), size=rng.integers(1, 9)):
        damaged[place] ^= int(rng.integers(1, 256))
    return bytes(damaged)


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    """The rest is missing."""
    return content[: rng.integers(len(content))]


def overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch becomes zeros, as after a crash of the machine, or noise."""
    start, length = rng.integers(len(content)), rng.integers(1, 200)
    noise = bytes(length) if rng.random() < 0.5 else rng.bytes(length)
    return content[:start] + noise + content[start + length :]


def insert(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of the file, or noise, stands once more somewhere else."""
    start, place = rng.integers(len(content), size=2)
    piece = content[start : start + rng.integers(1, 200)] if rng.random() < 0.5 else rng.bytes(20)
    return content[:place] + piece + content[place:]


BYTES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (flip_bytes, truncate, overwrite, insert)


def mutated_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """One damage that knows nothing of the file's format."""
    return BYTES[rng.integers(len(BYTES))](content, rng)


def mutated_toml(text: str, rng: np.random.Generator) -> bytes:
    """A sweeps.toml after 1 to 3 changes, of bytes, lines, keys, values or headings."""
    content = text.encode()
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if rng.random() < 0.15:
            content = mutated_bytes(content, rng) or b"\n"
            continue
        readable = content.decode(errors="replace")
        content = TOML_CHANGES[rng.integers(len(TOML_CHANGES))](readable, rng).encode(errors="replace") or b"\n"
    return content


def _lines(text: str, rng: np.random.Generator) -> str:
    """A line is deleted, doubled, or changes places with another."""
    lines = text.splitlines()
    first, second = rng.integers(len(lines), size=2) if lines else (0, 0)
    match rng.integers(3) if lines else 3:
        case 0:
            del lines[first]
        case 1:
            lines.insert(second, lines[first])
        case 2:
            lines[first], lines[second] = lines[second], lines[first]
    return "\n".join(lines) + "\n"


def _values(text: str, rng: np.random.Generator) -> str:
    """A value becomes one of another type, out of all bounds, or that of another key."""
    found = list(ASSIGNMENT.finditer(text))
    if not found:
        return text
    chosen, other = (found[k] for k in rng.integers(len(found), size=2))
    value = other[2] if rng.random() < 0.2 else TOML_VALUES[rng.integers(len(TOML_VALUES))]
    return text[: chosen.start(2)] + value + text[chosen.end(2) :]


def _plain(text: str, rng: np.random.Generator) -> str:
    """A value becomes another of its own type, as somebody who edits the file may write."""
    found = [match for match in ASSIGNMENT.finditer(text) if match[2].replace("_", "").replace(".", "").isdigit()]
    if not found:
        return text
    chosen = found[rng.integers(len(found))]
    return text[: chosen.start(2)] + rng.choice(["1", "2", "3", "0.5", "16", "1000"]) + text[chosen.end(2) :]


def _keys(text: str, rng: np.random.Generator) -> str:
    """A key becomes an unknown one, a dotted one, or another of the file."""
    found = list(ASSIGNMENT.finditer(text))
    if not found:
        return text
    chosen, other = (found[k] for k in rng.integers(len(found), size=2))
    name = other[1] if rng.random() < 0.3 else TOML_NAMES[rng.integers(len(TOML_NAMES))]
    return text[: chosen.start(1)] + name + text[chosen.end(1) :]


def _headings(text: str, rng: np.random.Generator) -> str:
    """A part of a heading becomes another name, or its table an empty or doubled one."""
    found = list(HEADING.finditer(text))
    if not found:
        return text
    chosen = found[rng.integers(len(found))]
    parts = chosen[1].split(".")
    match rng.integers(4):
        case 0:
            parts[rng.integers(len(parts))] = TOML_NAMES[rng.integers(len(TOML_NAMES))]
        case 1:
            parts.append(TOML_NAMES[rng.integers(len(TOML_NAMES))])
        case 2:
            parts = parts[:-1] or [""]
        case _:
            return text[: chosen.end()] + "\n[" + chosen[1] + "x]" + text[chosen.end() :]
    return text[: chosen.start()] + f"[{'.'.join(parts)}]" + text[chosen.end() :]


def _large(text: str, rng: np.random.Generator) -> str:
    """Grids and seeds become long: products of them explode."""
    long = f"[{', '.join(map(str, range(1, int(rng.choice([100, 3_000])))))}]"
    found = [match for match in ASSIGNMENT.finditer(text) if match[2][0].isdigit() or match[2][0] == "["]
    for chosen in reversed(found[: rng.integers(1, 6)]):
        text = text[: chosen.start(2)] + long + text[chosen.end(2) :]
    return text


TOML_CHANGES: tuple[Callable[[str, np.random.Generator], str], ...] = (
    *(_lines, _lines, _lines, _plain, _plain, _values, _values, _values, _keys, _keys, _headings, _headings),
    _large,
)
