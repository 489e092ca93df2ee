"""Text as LaTeX prints it: ASCII out, whatever comes in, and nothing in it is a command."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # after a line's \\ a bracket or an asterisk would be its argument
    "]": "{]}",
    "*": "{*}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ß": r"\ss{}",
    "ı": r"\i{}",
}
SYMBOLS = {
    "±": r"\pm",
    "×": r"\times",
    "−": "-",
    "·": r"\cdot",
    "÷": r"\div",
    "≤": r"\leq",
    "≥": r"\geq",
    "≠": r"\neq",
    "≈": r"\approx",
    "∝": r"\propto",
    "∞": r"\infty",
    "√": r"\surd",
    "∂": r"\partial",
    "∇": r"\nabla",
    "∫": r"\int",
    "∈": r"\in",
    "∘": r"\circ",
    "⊗": r"\otimes",
    "⊤": r"\top",
    "¬": r"\neg",
    "‖": r"\|",
    "⟨": r"\langle",
    "⟩": r"\rangle",
    "←": r"\leftarrow",
    "→": r"\rightarrow",
    "↑": r"\uparrow",
    "↓": r"\downarrow",
    "°": r"{}^\circ",
}
SMALL = "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho varsigma sigma tau upsilon"
SYMBOLS |= {letter: f"\\{name}" for letter, name in zip("αβγδεζηθικλμνξπρςστυ", SMALL.split(), strict=True)}
SYMBOLS |= {letter: f"\\{name}" for letter, name in zip("φχψω", ("varphi", "chi", "psi", "omega"), strict=True)}
CAPITALS = "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
SYMBOLS |= {letter: f"\\{name}" for letter, name in zip("ΓΔΘΛΞΠΣΥΦΨΩ", CAPITALS.split(), strict=True)}
ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}


def escape(text: str) -> str:
    """The text on one line, for any encoding of fonts and without a package. What LaTeX has no name for becomes "?"."""
    characters = re.findall(".[\u0300-\u036f]*", unicodedata.normalize("NFC", " ".join(text.split())))
    pieces = []
    for script, run in itertools.groupby(characters, _script):
        if script:
            pieces.append(f"${script}{{{''.join(map(_in_script, run))}}}$")
        else:
            pieces += map(_character, run)
    return re.sub("-(?=-)", "-{}", "".join(pieces))  # two hyphens are not a dash


def _script(character: str) -> str:
    """ "^" for a superscript, "_" for a subscript, else empty."""
    return {"<super>": "^", "<sub>": "_"}.get(unicodedata.decomposition(character[0]).partition(" ")[0], "")


def _in_script(character: str) -> str:
    return "".join(SYMBOLS.get(plain, plain if plain.isascii() else "?") for plain in _compatible(character))


def _character(character: str) -> str:
    """One character with its accents."""
    if character in SPECIAL:
        return SPECIAL[character]
    if character in SYMBOLS:
        return f"${SYMBOLS[character]}$"
    if character.isascii():
        return character if character.isprintable() else "?"
    decomposed = unicodedata.normalize("NFD", character)
    base, accents = decomposed[0], decomposed[1:]
    if accents and base.isascii() and all(accent in ACCENTS for accent in accents):
        return functools.reduce(lambda inner, accent: f"\\{ACCENTS[accent]}{{{inner}}}", accents, _character(base))
    plain = _compatible(character)
    return "?" if plain == character else "".join(map(_character, plain))


def _compatible(character: str) -> str:
    return unicodedata.normalize("NFKD", character).replace("\u2044", "/")
