"""Whether something that was said holds a phrase, as people mean it. Pure.

Case, accents and the number of spaces do not matter, and a phrase is found as whole words: ``card`` is not in
``discard``. Where a language's words run together, or a model divides them its own way (Korean, Chinese,
Japanese), spaces do not matter at all.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import regex

PATIENCE = 0.05
"""Seconds that one search may take: an expression can be written so that it takes for ever."""

LONGEST = 20_000
"""Characters of what was said that are searched."""

_RUN_TOGETHER = regex.compile(r"[\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}]")


class TooSlowError(Exception):
    """A search took longer than it may; the expression is of no use."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Phrases and an expression of which any must be found; made once, used for every utterance."""

    patterns: tuple[tuple[Any, bool], ...]

    def found(self, text: str) -> bool:
        """Whether it is in what was said.

        Raises:
            TooSlowError: If looking for it takes too long.
        """
        text = text[:LONGEST]
        folded, joined = fold(text), "".join(fold(text).split())
        try:
            return any(
                pattern.search(joined if together else folded, timeout=PATIENCE) is not None
                for pattern, together in self.patterns
            )
        except TimeoutError:
            raise TooSlowError from None


def wanted(phrases: Sequence[str], expression: str = "") -> Wanted:
    """Make what looks for phrases and for a regular expression.

    An expression is searched in what was said without accents, in either case.

    Raises:
        ValueError: If it is no expression, or a phrase is empty.
    """
    made: list[tuple[Any, bool]] = []
    for phrase in phrases:
        words = fold(phrase).split()
        if not words:
            raise ValueError("a phrase is empty")
        together = _RUN_TOGETHER.search(unicodedata.normalize("NFC", phrase)) is not None
        spaced = r"\s+".join(regex.escape(word) for word in words)
        pattern = regex.escape("".join(words)) if together else rf"(?<!\w){spaced}(?!\w)"
        made.append((regex.compile(pattern), together))
    if expression:
        try:
            made.append((regex.compile(_unmarked(expression), regex.IGNORECASE), False))
        except regex.error as error:
            raise ValueError(f"it is no regular expression: {error}") from None
    return Wanted(tuple(made))


def fold(text: str) -> str:
    """Leave out what does not matter: case, and marks such as accents."""
    return _unmarked(text.casefold())


def _unmarked(text: str) -> str:
    plain = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", "".join(plain))
