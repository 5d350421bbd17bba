"""Whether something that was said holds a phrase."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.bots.phrases import TooSlowError, wanted


@pytest.mark.parametrize(
    ("phrase", "said", "there"),
    [
        ("cartão", "o número do CARTAO por favor", True),
        ("cartao", "o número do cartão", True),
        ("card", "please discard it", False),
        ("card number", "my card\n  number is", True),
        ("cancelar", "quero cancelar.", True),
        ("cancelar", "cancelaram", False),
        ("¿cómo está?", "como esta", False),
        ("c++", "i know c++ well", True),
        ("통화하고 싶습니다", "상담원 과 통화 하고 싶습니다", True),
        ("상담원", "상담원 과", True),
        ("straße", "STRASSE", True),
        (".*", "anything", False),
    ],
)
def test_a_phrase_is_found_as_people_mean_it(phrase: str, said: str, there: bool) -> None:
    """Whole words, whatever case and accents; in Korean whatever spaces; nothing in it is an expression."""
    assert wanted([phrase]).found(said) is there


@pytest.mark.parametrize(
    ("expression", "said", "there"),
    [
        (r"protocolo \d{4,}", "o protocolo 12345", True),
        (r"não (quero|preciso)", "eu nao QUERO isso", True),
        (r"\bcard\W", "card!", True),
        (r"\bcard\W", "cards", False),
    ],
)
def test_an_expression_is_searched_without_accents(expression: str, said: str, there: bool) -> None:
    """And in either case, though its own classes stay what they are."""
    assert wanted([], expression).found(said) is there


def test_an_expression_that_takes_for_ever_is_stopped() -> None:
    """Nobody's typing holds up the calls."""
    bad, began = wanted([], r"(a|aa)+$"), time.monotonic()
    with pytest.raises(TooSlowError):
        bad.found("a" * 5_000 + "!")
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize(("phrases", "expression", "why"), [(["  "], "", "empty"), ([], "(", "no regular")])
def test_what_can_never_be_found_is_refused(phrases: list[str], expression: str, why: str) -> None:
    """With the reason."""
    with pytest.raises(ValueError, match=why):
        wanted(phrases, expression)


@given(st.text(max_size=60), st.text(max_size=20))
def test_nothing_that_is_said_raises(said: str, phrase: str) -> None:
    """Whatever comes from a recogniser."""
    if phrase.split():
        assert wanted([phrase]).found(said) in (True, False)
