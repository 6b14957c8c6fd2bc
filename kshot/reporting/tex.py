"""Text for LaTeX: what any pdflatex sets without further packages, and how wide it becomes."""

from __future__ import annotations

import math
import re
import unicodedata
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font

# Dollar and section sign in mathematics: as text they come from a font that many have as bitmaps alone (tcrm).
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"$\$$", "#": r"\#", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": "$<$", ">": "$>$", "|": "$|$",
    "¹": "$^1$", "²": "$^2$", "³": "$^3$", "°": r"$^\circ$", "±": r"$\pm$", "×": r"$\times$", "÷": r"$\div$",  # noqa: RUF001
    "·": r"$\cdot$", "−": "$-$", "–": "--", "—": "---", "…": r"\ldots{}", "≤": r"$\leq$", "≥": r"$\geq$",  # noqa: RUF001
    "≠": r"$\neq$", "≈": r"$\approx$", "→": r"$\to$", "←": r"$\leftarrow$", "∞": r"$\infty$", "√": r"$\surd$",
    "µ": r"$\mu$", "§": r"$\S$", "“": "``", "”": "''", "‘": "`", "’": "'", "\N{NO-BREAK SPACE}": "~",  # noqa: RUF001
    "†": r"$^\dagger$",
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",  # noqa: RUF001
}  # fmt: skip
_GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
    "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega",
)  # fmt: skip
for _name in _GREEK:
    _case = "SMALL" if _name.islower() else "CAPITAL"
    _letters = _name.upper().replace("MBD", "MD")  # Unicode spells lambda without b
    _SPECIAL[unicodedata.lookup(f"GREEK {_case} LETTER {_letters}")] = rf"$\{_name}$"
_ACCENTS = {
    "\N{COMBINING GRAVE ACCENT}": "`", "\N{COMBINING ACUTE ACCENT}": "'", "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~", "\N{COMBINING DIAERESIS}": '"', "\N{COMBINING CARON}": "v",
    "\N{COMBINING CEDILLA}": "c",
    "\N{COMBINING DOUBLE ACUTE ACCENT}": "H", "\N{COMBINING MACRON}": "=", "\N{COMBINING DOT ABOVE}": ".",
    "\N{COMBINING BREVE}": "u", "\N{COMBINING RING ABOVE}": "r",
}  # fmt: skip
_NUMBER = re.compile(r"(?<![\w.])-(?=\d)")
"""A hyphen that is the sign of a number."""
_SIGN = 0.778
"""Ems of a minus and of a plus-minus sign."""
_WIDER = {10: 1.0, 9: 1.028, 8: 1.0625, 7: 1.139}
"""Computer Modern's letters are wider, for their size, the smaller they are: cmr7, cmr8 and cmr9 against cmr10."""


def escape(text: str) -> str:
    """Plain text as LaTeX of the standard classes, for any input.

    Words between backticks become type-writer text, K the variable that it is, and hyphens before numbers minus signs.
    What LaTeX has no letter for is named by its code point: ``[U+4E2D]``.
    """
    whole = "".join(
        rf"\texttt{{{_plain(piece)}}}" if i % 2 else _worded(piece) for i, piece in enumerate(_by_backticks(text))
    )
    return " ".join(whole.split())


def _by_backticks(text: str) -> list[str]:
    """Text and code by turns; without a partner, a backtick is an apostrophe."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        pieces[-2:] = [f"{pieces[-2]}'{pieces[-1]}"]
    return pieces


def _worded(text: str) -> str:
    text = re.sub(r'"([^"]*)"', "“\\1”", text).replace('"', "”")
    found = re.sub(r"(?<=\d) \\%", r"\\,\\%", _plain(_NUMBER.sub("−", text)))  # noqa: RUF001
    found = re.sub(r"(?<=\d)\\textasciicircum{}(\d+)", r"$^{\1}$", found)
    return re.sub(r"(?<![\w-])K( = \d+)?(?![\w-])", r"$K\1$", found)


def _plain(text: str) -> str:
    return "".join(_letter(letter) for letter in unicodedata.normalize("NFC", text))


def _letter(letter: str) -> str:
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    if letter.isascii():
        return letter if letter.isprintable() else " "
    parts = unicodedata.normalize("NFD", letter)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        return rf"\{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    return f"[U+{ord(letter):04X}]"


def width(text: str, size: int) -> float:
    """Points that a line of text takes in Computer Modern, the widest of the usual fonts of papers.

    Args:
        text: before ``escape``.
        size: in points, one of 7, 8, 9, 10.
    """
    return size * _WIDER[size] * sum(map(_advance, _NUMBER.sub("−", text)))  # noqa: RUF001


def caption_height(text: str, room: float) -> float:
    """Points of a caption of 10 pt that has so many points for its lines; rather one line too many."""
    return 12 * (1 + math.ceil(1.05 * width(text, 10) / room))


@cache
def _advance(letter: str) -> float:
    """Ems; of what the font lacks, those of an m or, where it is a sign, of that."""
    if letter in "±−":  # noqa: RUF001
        return _SIGN
    font = _font()
    return font.load_char(ord(letter if font.get_char_index(ord(letter)) else "m")).linearHoriAdvance / 65536 / _SIZE


_SIZE = 100


@cache
def _font() -> FT2Font:
    font = FT2Font(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "cmr10.ttf")))
    font.set_size(_SIZE, 72)
    return font
