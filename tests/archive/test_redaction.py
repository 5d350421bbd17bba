"""What must not be kept is found as it is spoken, and next to nothing else is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.archive.redaction import KINDS, Redactor
from voki_bots.calls import Role, Track, UtteranceHeard, Word

TRACK = Track(0, "1", 7)


def said(text: str, start: float = 10.0, **more: object) -> UtteranceHeard:
    """Somebody says words, one each half second."""
    words = tuple(Word(word, start + n / 2, start + n / 2 + 0.4) for n, word in enumerate(text.split()))
    end = words[-1].end if words else start
    return replace(
        UtteranceHeard("u", 0, True, text, Role.CUSTOMER, "c", start, end, words=words, track=TRACK),
        **more,  # type: ignore[arg-type]
    )


def kept(text: str, language: str = "pt", kinds: tuple[str, ...] = KINDS) -> str:
    return Redactor(kinds, language).line(said(text))[0].text


CARD = "quatro um um um um um um um um um um um um um um um"
UNOS = "cuatro uno uno uno uno uno uno uno uno uno uno uno uno uno uno uno"
ONES = "four double one one double one double one double one double one double one one one"
TENS = "cinquenta e dois noventa e nove oitenta e dois vinte e quatro setenta e dois cinco"


@pytest.mark.parametrize(
    ("language", "text", "left"),
    [
        ("pt", f"meu cartão é {CARD} e vence amanhã", "meu cartão é [card] e vence amanhã"),
        ("pt", "o cartão 4111 1111 1111 1111 não passa", "o cartão [card] não passa"),
        ("pt", "o cartão 4111-1111-1111-1111.", "o cartão [card]"),
        ("pt", "CPF 529.982.247-25 por favor", "CPF [cpf] por favor"),
        ("pt", "cinco dois nove nove oito dois dois quatro sete dois cinco obrigado", "[cpf] obrigado"),
        ("pt", f"{TENS} sim", "[cpf] sim"),
        ("pt", "meu número é meia meia um dois três", "meu número é meia meia um dois três"),
        ("pt", "o CNPJ 11.222.333/0001-81 da empresa", "o CNPJ [cnpj] da empresa"),
        (
            "pt",
            "ligue onze nove oito sete meia cinco quatro três dois um por favor",
            "ligue [phone] por favor",
        ),
        (
            "pt",
            "escreva para ana ponto souza arroba exemplo ponto com ponto br hoje",
            "escreva para [email] hoje",
        ),
        ("pt", "meu e-mail é ana@exemplo.com.br obrigado", "meu e-mail é [email] obrigado"),
        ("es", f"mi tarjeta {UNOS} vale", "mi tarjeta [card] vale"),
        ("es", "escriba a juan guion perez arroba ejemplo punto es gracias", "escriba a [email] gracias"),
        ("en", f"card {ONES} thanks", "card [card] thanks"),
        ("en", "mail me at john dot smith at example dot com please", "mail me at [email] please"),
        ("en", "call two one two five five five two three six eight please", "call [phone] please"),
        ("ko", "제 번호는 공일공 일이삼사 오육칠팔 입니다", "제 번호는 [phone] 입니다"),
    ],
)
def test_what_must_not_be_kept_is_found(language: str, text: str, left: str) -> None:
    """In digits and in words, in any grouping."""
    assert kept(text, language) == left


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("pt", "custa mil e quinhentos reais no dia vinte e três de março"),
        ("pt", "o pedido 48213 de 2024 custa 1500 reais"),
        ("pt", "tenho dois filhos e três netos"),
        ("pt", "protocolo 2024 00123 certo"),
        ("en", "meet me at the office at ten"),
        ("en", "i have two questions about my 2023 invoice"),
        ("es", "son las tres y veinte de la tarde"),
        ("ko", "이 문제가 해결되지 않았습니다"),
    ],
)
def test_ordinary_numbers_stay(language: str, text: str) -> None:
    """Prices, dates, quantities and short references are what people talk about."""
    assert kept(text, language) == text


def test_only_what_is_asked_for_is_kept_back() -> None:
    """Whoever needs the telephone number has it."""
    text = "meu telefone onze nove oito sete meia cinco quatro três dois um está certo"
    assert kept(text, kinds=("card",)) == text


def test_a_card_in_four_breaths_is_found() -> None:
    """Of the first breath the issuer's digits stay, as PCI DSS lets them; times are the words'."""
    redactor, out, spans = Redactor(("card",), "pt"), [], []
    for n, text in enumerate(["4111", "1111", "1111", "1111 e a validade é 12 28"]):
        line, found = redactor.line(said(text, start=10.0 + 3 * n))
        out.append(line.text)
        spans += [(each.kind, each.start, each.end) for each in found]
    assert out == ["4111", "[number]", "[number]", "[card] e a validade é 12 28"]
    assert spans == [("number", 13.0, 13.4), ("number", 16.0, 16.4), ("card", 19.0, 19.4)]


def test_another_speaker_or_a_long_pause_ends_a_number() -> None:
    """What one says has nothing to do with what another says, or the same much later."""
    redactor = Redactor(("card",), "pt")
    redactor.line(said("4111 1111"))
    other = redactor.line(said("1111 1111", start=12.0, track=Track(0, "2", 8)))[0]
    later = redactor.line(said("1111", start=60.0))[0]
    assert (other.text, later.text) == ("[number]", "1111")


def test_a_partial_is_masked_and_not_remembered() -> None:
    """It will be said again."""
    redactor = Redactor(("card",), "pt")
    for length in range(1, 17):
        line, _ = redactor.line(said(" ".join(CARD.split()[:length]), final=False))
        assert len([word for word in line.text.split() if word in ("um", "quatro")]) < 6
    assert redactor.line(said("um dois", start=12.0))[0].text == "um dois"


def test_without_times_of_words_the_whole_utterance_is_the_span() -> None:
    """Better too much than too little."""
    line, (found,) = Redactor(("card",), "pt").line(said(f"o cartão {CARD}", words=(), end=30.0))
    assert (line.text, found.start, found.end) == ("o cartão [card]", 10.0, 30.0)


@given(st.lists(st.text(max_size=12), max_size=12), st.sampled_from(["pt", "es", "en", "ko", "xx", ""]))
def test_whatever_is_said_comes_through(words: list[str], language: str) -> None:
    """Nothing raises, and words that are no numbers stay in their order."""
    text = " ".join(" ".join(words).split())
    line, found = Redactor(KINDS, language).line(said(text))
    if not found:
        assert line.text == text
    assert " ".join(word.text for word in line.words) == line.text or not line.words
