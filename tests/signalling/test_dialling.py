"""What is tried next when the platform's socket cannot be reached."""

from __future__ import annotations

from random import Random

import pytest

from voki_bots.errors import AuthenticationError
from voki_bots.signalling.dialling import STABLE, Dialling


def dialling(seed: int = 1) -> Dialling:
    return Dialling(
        "https://user:pw@voki.example/socket",
        versions=("2.0.0", "1.0.0", None),
        backoff=(1, 2, 5, 10),
        max_refusals=3,
        random=Random(seed),
    )


@pytest.mark.parametrize("seed", range(20))
def test_6_the_back_off_is_1_2_5_10_10_with_bounded_jitter(seed: int) -> None:
    """A fifth more or less, and no more than the last."""
    dial = dialling(seed)
    delays = [dial.failed() for _ in range(6)]
    assert all(0.8 * d <= got <= 1.2 * d for d, got in zip((1, 2, 5, 10, 10, 10), delays, strict=True))


def test_6_the_back_off_begins_anew_after_an_opening() -> None:
    """It counts from the last open."""
    dial = dialling()
    for _ in range(4):
        dial.failed()
    dial.opened()
    assert dial.closed(lived=0.1) <= 1.2


def test_the_first_reconnect_after_a_stable_connection_is_quick() -> None:
    """But not immediate: a fleet must not come back in step."""
    dial = dialling()
    dial.opened()
    assert 0 < dial.closed(lived=STABLE) <= 0.3


def test_jitter_differs_between_members_of_a_fleet() -> None:
    """The same failure gives different delays."""
    assert len({dialling(seed).failed() for seed in range(10)}) == 10


def test_78_the_shown_address_holds_neither_user_nor_query() -> None:
    """Nothing in it is secret."""
    assert dialling().shown == "wss://voki.example/socket"


def test_a_refusal_after_success_asks_for_a_fresh_token_with_back_off() -> None:
    """A running platform is not hammered."""
    dial = dialling()
    dial.opened()
    assert (dial.rejected(403) > 0, dial.fresh) == (True, True)


def test_an_account_refused_after_success_is_given_up_after_three() -> None:
    """It may be a hiccup; three in a row are not."""
    dial = dialling()
    dial.opened()
    for _ in range(3):
        assert dial.verdict is None
        dial.unauthorised(AuthenticationError("no"))
    assert isinstance(dial.verdict, AuthenticationError)
