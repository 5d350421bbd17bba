"""What must have happened before a call may be recorded."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from voki_bots.archive.folder import CallFolder
from voki_bots.bots.bot import Bot
from voki_bots.bots.consent import Consent, ConsentPolicy
from voki_bots.calls import Call, ConsentAnnounced, ConsentGiven, ConsentRefused, Participant, Role
from voki_bots.errors import ConfigurationError

ANA = Participant("u-ana", "Ana", Role.ATTENDANT)
CARL = Participant("u-carl", "Carl", Role.CUSTOMER)
FILE = Path("told.wav")


def consent(policy: str, announcement: Path | None = FILE) -> Consent:
    return Consent(ConsentPolicy.model_validate({"policy": policy, "announcement": announcement}))


def test_without_a_policy_nothing_is_asked_for() -> None:
    """A tenant that needs none is recorded from the first packet on."""
    assert Consent(ConsentPolicy()).met([CARL])


def test_a_refusal_counts_also_where_nothing_is_asked_for() -> None:
    """Who says no is not recorded, whatever the tenant's policy."""
    free = Consent(ConsentPolicy())
    free.refused("u-carl")
    assert not free.met([CARL])
    free.given("u-carl", [CARL])
    assert free.met([CARL])


def test_an_announcement_without_a_file_is_refused() -> None:
    """Nothing could ever be recorded."""
    with pytest.raises(ValidationError, match="needs a file to play"):
        ConsentPolicy(policy="announce")


def test_a_bot_that_does_not_speak_cannot_announce() -> None:
    """It is told when the bot is made."""
    with pytest.raises(ConfigurationError, match="set speaks = true"):
        Bot("minutes", consent=ConsentPolicy(policy="announce", announcement=FILE))


def test_whom_it_does_not_concern_need_not_be_told() -> None:
    """Attendants know; while only they are there nothing is played and nothing is written."""
    announced = consent("announce")
    assert (announced.met([ANA]), announced.to_tell([ANA], sure=False)) == (False, set())
    announced.told(["u-carl"])
    assert announced.met([ANA, CARL])


def test_somebody_without_a_name_is_told() -> None:
    """Who is heard, and was never announced, may be a customer."""
    announced = consent("announce")
    assert announced.to_tell([], sure=True) == {""}
    announced.told([])
    assert (announced.met([]), announced.to_tell([], sure=True)) == (True, set())


def test_anothers_word_counts_for_all_who_are_there() -> None:
    """An attendant says that everybody agreed; who comes later did not."""
    asked = consent("ask", None)
    assert not asked.met([CARL])
    assert asked.given("ana at the desk", [ANA, CARL]) == ("u-ana", "u-carl")
    assert asked.met([ANA, CARL])
    assert not asked.met([CARL, Participant("u-eve", "Eve", Role.CUSTOMER)])


def test_it_is_told_to_those_who_are_surely_there() -> None:
    """A customer whom the platform expects hears nothing yet; nothing is written meanwhile."""
    announced = consent("announce")
    assert (announced.met([CARL]), announced.to_tell([CARL], sure=False)) == (False, set())
    assert announced.to_tell([ANA, CARL], sure=True) == {"u-carl"}


def test_who_was_told_need_not_be_told_again_under_their_id() -> None:
    """A customer is heard before the platform tells their id."""
    announced = consent("announce")
    announced.told(["customer:Carl"])
    announced.renamed("customer:Carl", "u-carl")
    assert announced.met([CARL]) and not announced.to_tell([CARL], sure=True)


def test_consent_outlives_a_crash(tmp_path: Path) -> None:
    """Who agreed did, once they are seen again; who did not, or came meanwhile, keeps the call closed."""
    call, wall = Call("acme", "c-1"), lambda: datetime(2026, 3, 1, tzinfo=UTC)
    folder = CallFolder.open(tmp_path, call, "minutes", clock=lambda: 0.0, wall=wall)
    for event in (
        ConsentAnnounced("told.wav", 1.0, 2.0, ("u-carl", "u-eve")),
        ConsentGiven("u-carl", "pressed 1", ("u-carl",)),
    ):
        folder.record(event)
    folder.close()
    again, asked = CallFolder.open(tmp_path, call, "minutes", clock=lambda: 9.0, wall=wall), consent("ask")
    again.remember(asked)
    again.close()
    asked.came_back()
    eve = Participant("u-eve", "Eve", Role.CUSTOMER)
    assert [asked.met(there) for there in ([], [CARL], [CARL, eve])] == [False, True, False]


def test_a_refusal_outlives_a_crash(tmp_path: Path) -> None:
    """Nobody need be there."""
    call, wall = Call("acme", "c-1"), lambda: datetime(2026, 3, 1, tzinfo=UTC)
    folder = CallFolder.open(tmp_path, call, "minutes", clock=lambda: 0.0, wall=wall)
    folder.record(ConsentRefused("u-carl", "said no"))
    free = consent("none", None)
    folder.remember(free)
    folder.close()
    assert not free.met([])
