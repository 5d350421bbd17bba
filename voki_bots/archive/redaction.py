"""Finding in what was said what must not be kept: numbers of cards, people, companies, telephones; e-mail.

Pure. Numbers are found as they are spoken: as digits, as words of Portuguese, Spanish, English and Korean, in
any grouping, over pauses and over several utterances of one speaker. A number counts if its check digits say
so (python-stdnum), if it is one that can be called (phonenumbers), or if it is as long as a card's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from voki_bots.calls import UtteranceHeard, Word

KINDS = ("card", "cpf", "cnpj", "phone", "email")
"""What can be found."""

NUMBER = "number"
"""What a number is called that may become one of the others when its speaker goes on."""

GOING_ON = 10.0
"""Seconds between two utterances over which a number may go on."""

OPEN_DIGITS = 6
"""Digits of a number that may go on from which on they are kept back; a year or a price has fewer."""

CARD_DIGITS = range(13, 20)
"""How long the number of a card is (ISO/IEC 7812-1)."""

_REGIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "pt": ("BR", "PT"),
    "es": ("ES", "MX", "AR", "CO", "CL", "PE"),
    "en": ("US", "GB"),
    "ko": ("KR",),
}

_UNITS: Final[Mapping[str, str]] = {
    word: str(number)
    for words in (
        "zero um dois tres quatro cinco seis sete oito nove",
        "cero uno dos tres cuatro cinco seis siete ocho nueve",
        "zero one two three four five six seven eight nine",
        "공 일 이 삼 사 오 육 칠 팔 구",
    )
    for number, word in enumerate(words.split())
} | {"uma": "1", "duas": "2", "meia": "6", "un": "1", "una": "1", "oh": "0", "영": "0", "하나": "1"}
_TEENS: Final[Mapping[str, str]] = {
    word: str(10 + number)
    for words in (
        "dez onze doze treze quatorze quinze dezesseis dezessete dezoito dezenove",
        "diez once doce trece catorce quince dieciseis diecisiete dieciocho diecinueve",
        "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
    )
    for number, word in enumerate(words.split())
}
_TENS: Final[Mapping[str, str]] = {
    word: str(2 + number)
    for words in (
        "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa",
        "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
        "twenty thirty forty fifty sixty seventy eighty ninety",
    )
    for number, word in enumerate(words.split())
}
_AND: Final = frozenset({"e", "y"})
_TWICE: Final[Mapping[str, int]] = {"double": 2, "doble": 2, "dobro": 2, "triple": 3, "triplo": 3}
_BETWEEN: Final = frozenset(
    {
        "ponto",
        "punto",
        "dot",
        "point",
        "traco",
        "hifen",
        "guion",
        "dash",
        "barra",
        "slash",
        "eh",
        "hum",
        "uh",
        "ah",
    }
)
_AT: Final = frozenset({"arroba", "at"})
_DOT: Final = frozenset({"ponto", "punto", "dot"})
_JOINS: Final = _DOT | frozenset(["underline", "underscore", "hifen", "traco", "guion", "dash", "menos"])

_WRITTEN_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_DIGITS = re.compile(r"\D+")
_NUMERIC = re.compile(r"[\d().,/+\-–]*\d[\d().,/+\-–]*")


@dataclass(frozen=True, slots=True)
class Found:
    """Something in one utterance.

    Attributes:
        kind: One of `KINDS`, or `NUMBER`.
        first: The number of its first word.
        last: Of its last, inclusive.
        start: Seconds of call time.
        end: Exclusive.
    """

    kind: str
    first: int
    last: int
    start: float
    end: float


@dataclass(slots=True)
class _Run:
    """Words of an utterance that are digits, with nothing but what stands between digits among them."""

    first: int
    last: int
    digits: str = ""
    owners: list[int] = field(default_factory=list)


class Redactor:
    """Keeps back what must not be kept, utterance after utterance of a call.

    Args:
        kinds: Which of `KINDS`.
        language: ISO 639-1; it says which telephone numbers are likely.
    """

    def __init__(self, kinds: Sequence[str], language: str = "") -> None:
        self._kinds = frozenset(kinds)
        self._regions = _REGIONS.get(language, ()) or tuple(r for each in _REGIONS.values() for r in each)
        self._carried: dict[str, tuple[float, str]] = {}

    def line(self, heard: UtteranceHeard) -> tuple[UtteranceHeard, list[Found]]:
        """Keep back what is in an utterance; one that is final is remembered, for its number may go on.

        Returns:
            The utterance, with ``[card]`` and the like in place of words, and what was found in it.
        """
        key = str(heard.track)
        words = [word.text for word in heard.words] or heard.text.split()
        at, carried = self._carried.get(key, (0.0, ""))
        if heard.start - at > GOING_ON:
            carried = ""
        runs = list(_runs(words))
        found = list(self._numbers(runs, carried, len(words))) + list(self._addresses(words))
        if heard.final:
            self._remember(key, heard, runs, carried, len(words))
        merged = [
            Found(kind, first, last, *_span(heard, first, last)) for kind, first, last in _merged(found)
        ]
        return (_masked(heard, words, merged), merged) if merged else (heard, [])

    def _remember(
        self, key: str, heard: UtteranceHeard, runs: Sequence[_Run], carried: str, count: int
    ) -> None:
        self._carried.pop(key, None)
        if runs and runs[-1].last == count - 1:
            whole = runs[-1].first == 0
            self._carried[key] = heard.end, ((carried if whole else "") + runs[-1].digits)[-40:]
        elif not count and carried:
            self._carried[key] = heard.end, carried

    def _numbers(self, runs: Sequence[_Run], carried: str, count: int) -> Iterator[tuple[str, int, int]]:
        for run in runs:
            before = carried if run.first == 0 else ""
            digits = before + run.digits
            owners = [-1] * len(before) + run.owners
            for kind, begin, end in self._kept_back(digits):
                own = [owner for owner in owners[begin:end] if owner >= 0]
                if own:
                    yield kind, own[0], own[-1]
            goes_on = run.last == count - 1 or bool(before)
            if goes_on and len(digits) >= OPEN_DIGITS:
                yield NUMBER, run.first, run.last

    def _kept_back(self, digits: str) -> Iterator[tuple[str, int, int]]:
        """Give the kinds and places of numbers in digits that were said in one go."""
        exact = list(self._checked(digits))
        yield from exact
        if "card" in self._kinds and not exact and len(digits) in CARD_DIGITS:
            yield "card", 0, len(digits)  # its check digit may have been misheard
        if "phone" in self._kinds and 8 <= len(digits) <= 15 and self._is_phone(digits):
            yield "phone", 0, len(digits)

    def _checked(self, digits: str) -> Iterator[tuple[str, int, int]]:
        """Give what the check digits prove."""
        if "cpf" in self._kinds:
            yield from _windows(digits, 11, "cpf", _is_cpf)
        if "cnpj" in self._kinds:
            yield from _windows(digits, 14, "cnpj", _is_cnpj)
        if "card" in self._kinds:
            for length in CARD_DIGITS:
                yield from _windows(digits, length, "card", _is_card)

    def _is_phone(self, digits: str) -> bool:
        import phonenumbers

        for region in self._regions:
            for written, where in ((digits, region), (f"+{digits}", None)):
                try:
                    if phonenumbers.is_valid_number(phonenumbers.parse(written, where)):
                        return True
                except phonenumbers.NumberParseException:
                    continue
        return False

    def _addresses(self, words: Sequence[str]) -> Iterator[tuple[str, int, int]]:
        if "email" not in self._kinds:
            return
        plain = [_plain(word) for word in words]
        for at, word in enumerate(words):
            if _WRITTEN_EMAIL.search(word):
                yield "email", at, at
            elif plain[at] in _AT and 0 < at < len(words) - 1:
                last = _domain(plain, at)
                if last is not None:
                    yield "email", _local(plain, at), last


def _runs(words: Sequence[str]) -> Iterator[_Run]:
    run: _Run | None = None
    at = 0
    while at < len(words):
        taken, digits = _digits(words, at)
        if digits:
            run = run or _Run(at, at)
            run.digits += digits
            run.owners += [at + min(n, taken - 1) for n in range(len(digits))]
            run.last = at + taken - 1
            at += taken
            continue
        if run is not None and _plain(words[at]) not in _BETWEEN | _AND:
            yield run
            run = None
        at += 1
    if run is not None:
        yield run


def _digits(words: Sequence[str], at: int) -> tuple[int, str]:
    """Give how many words from one on are digits, and which."""
    word = words[at].strip()
    if _NUMERIC.fullmatch(word):
        return 1, _DIGITS.sub("", word)
    plain = _plain(word)
    if plain in _UNITS:
        return 1, _UNITS[plain]
    if plain in _TEENS:
        return 1, _TEENS[plain]
    following = [_plain(each) for each in words[at + 1 : at + 3]]
    if plain in _TENS:
        rest = following[1:] if following[:1] and following[0] in _AND else following[:1]
        if rest and rest[0] in _UNITS and _UNITS[rest[0]] != "0":
            return (3 if following[0] in _AND else 2), _TENS[plain] + _UNITS[rest[0]]
        return 1, _TENS[plain] + "0"
    if plain in _TWICE and following and following[0] in _UNITS:
        return 2, _UNITS[following[0]] * _TWICE[plain]
    if len(plain) > 1 and all(letter in _UNITS and ord(letter) > 0x1100 for letter in plain):
        return 1, "".join(_UNITS[letter] for letter in plain)  # 공일공: Korean digits written together
    return 1, ""


def _windows(digits: str, length: int, kind: str, right: object) -> Iterator[tuple[str, int, int]]:
    assert callable(right)
    for begin in range(len(digits) - length + 1):
        if right(digits[begin : begin + length]):
            yield kind, begin, begin + length


def _is_card(digits: str) -> bool:
    from stdnum import luhn

    return digits[0] in "23456" and len(set(digits)) > 1 and bool(luhn.is_valid(digits))


def _is_cpf(digits: str) -> bool:
    from stdnum.br import cpf

    return len(set(digits)) > 1 and bool(cpf.is_valid(digits))


def _is_cnpj(digits: str) -> bool:
    from stdnum.br import cnpj

    return len(set(digits)) > 1 and bool(cnpj.is_valid(digits))


def _domain(plain: Sequence[str], at: int) -> int | None:
    """Find the last word of what follows an "at": words with dots between them."""
    last = at + 1
    while last + 2 < len(plain) and plain[last + 1] in _JOINS:
        last += 2
    dotted = any(word in _DOT for word in plain[at + 2 : last])
    top = plain[last].rpartition(".")[2]
    # A top-level domain is short, or one of few: "at john dot smith" is no address yet.
    known = top.isalpha() and (len(top) <= 3 or top in ("info", "site", "shop", "online"))
    return last if known and (dotted or "." in plain[at + 1]) else None


def _local(plain: Sequence[str], at: int) -> int:
    """Find the first word of what stands before an "at"."""
    first = at - 1
    while first >= 2 and (plain[first - 1] in _JOINS):
        first -= 2
    while (
        first >= 1
        and _digits(plain, first)[1]
        and not _digits(plain, first - 1)[1]
        and plain[first - 1] not in _AND
    ):
        first -= 1
    return first


def _merged(found: Sequence[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Join what overlaps; what is known exactly gives its name to what is only a number."""
    merged: list[tuple[str, int, int]] = []
    order = {kind: n for n, kind in enumerate((*KINDS, NUMBER))}
    for kind, first, last in sorted(found, key=lambda each: (each[1], each[2])):
        if merged and first <= merged[-1][2]:
            before, begin, end = merged[-1]
            merged[-1] = min(before, kind, key=order.__getitem__), begin, max(end, last)
        else:
            merged.append((kind, first, last))
    return merged


def _span(heard: UtteranceHeard, first: int, last: int) -> tuple[float, float]:
    if not heard.words:
        return heard.start, heard.end
    return heard.words[first].start, heard.words[last].end


def _masked(heard: UtteranceHeard, words: Sequence[str], found: Sequence[Found]) -> UtteranceHeard:
    texts: list[str] = []
    timed: list[Word] = []
    at = 0
    for each in (*found, None):
        until = len(words) if each is None else each.first
        texts += words[at:until]
        timed += heard.words[at:until]
        if each is not None:
            texts.append(f"[{each.kind}]")
            if heard.words:
                timed.append(Word(f"[{each.kind}]", each.start, each.end))
            at = each.last + 1
    return replace(heard, text=" ".join(texts), words=tuple(timed))


def _plain(word: str) -> str:
    folded = unicodedata.normalize("NFKD", word.casefold())
    letters = "".join(c for c in folded if not unicodedata.combining(c))
    return unicodedata.normalize("NFC", letters).strip(".,;:!?¿¡\"'()")
