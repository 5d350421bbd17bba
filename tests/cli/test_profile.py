"""`voki-bots profile`: an operator's commands, each with its exit code."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from voki_bots.bots.profile import CapabilityProfile, Levels, Routing

HEARD = Levels(attendant=-12.0, customer=-110.0)
GOOD = Routing(
    action="taken", before=HEARD, during=HEARD, after=HEARD, confirmed="us", routes_as_documented=True
)
PROFILE = CapabilityProfile(
    tenant="acme",
    host="127.0.0.1:1",
    department="d7",
    made=datetime(2026, 3, 1, tzinfo=UTC),
    software="voki-bots 0.1.0",
    whisper=GOOD,
    notes=("no \x1b[31mcolour\x1b[0m",),
)
WAY = 'by = "rest"\npath = "/api/v1/calls/{call}/supervise"\n'


@pytest.fixture
def signed(voki_bots: Any) -> str:
    """A signed profile.toml in the working directory; gives the operator's public key."""
    Path("profile.toml").write_text(PROFILE.to_toml())
    key = voki_bots("profile", "keygen", "operator.key").stdout.strip()
    said = voki_bots("profile", "sign", "profile.toml", "--key", "operator.key", "--by", "Ana")
    assert said.exit_code == 0
    return str(key)


def test_keygen_prints_the_public_half_alone(voki_bots: Any) -> None:
    """The private one is in a file of mode 0600."""
    said = voki_bots("profile", "keygen", "operator.key")
    secret = Path("operator.key").read_text().splitlines()[1]
    assert said.stdout.startswith("ed25519:") and secret not in said.output
    assert stat.S_IMODE(Path("operator.key").stat().st_mode) == 0o600


def test_a_signed_profile_verifies(voki_bots: Any, signed: str) -> None:
    """And says what it proves."""
    said = voki_bots("profile", "verify", "profile.toml", "--operator", signed, "--tenant", "acme")
    assert (said.exit_code, "signed by Ana" in said.stdout, "proves: whisper" in said.stdout) == (
        0,
        True,
        True,
    )


def test_the_signed_one_may_go_elsewhere(voki_bots: Any, signed: str) -> None:
    """What was read stays as it was."""
    Path("plain.toml").write_text(PROFILE.to_toml())
    voki_bots("profile", "sign", "plain.toml", "--key", "operator.key", "--by", "Ana", "-o", "signed.toml")
    assert Path("plain.toml").read_text() == PROFILE.to_toml()
    assert CapabilityProfile.from_toml(Path("signed.toml").read_text()).signature is not None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--tenant", "other"), "about the tenant 'acme'"),
        (("--host", "other.example"), "about the host '127.0.0.1:1'"),
        (("--days", "0.001"), "days old"),
    ],
)
def test_what_it_is_not_about_ends_with_2(
    voki_bots: Any, signed: str, options: tuple[str, ...], why: str
) -> None:
    """In one sentence."""
    said = voki_bots("profile", "verify", "profile.toml", "--operator", signed, *options)
    assert (said.exit_code, why in said.stderr) == (2, True)


def test_a_changed_profile_ends_with_2(voki_bots: Any, signed: str) -> None:
    """Whoever changed it."""
    text = Path("profile.toml").read_text()
    Path("profile.toml").write_text(text.replace("attendant = -12.0", "attendant = -13.0", 1))
    said = voki_bots("profile", "verify", "profile.toml", "--operator", signed)
    assert (said.exit_code, "changed since" in said.stderr) == (2, True)


def test_a_profile_is_shown_in_words(voki_bots: Any, signed: str) -> None:
    """With every measurement, and nothing in it that moves a cursor."""
    said = voki_bots("profile", "show", "profile.toml").stdout
    assert "whisper: taken, routes as documented; the start event named us" in said
    assert ("barge: not tried" in said, "\x1b" in said) == (True, False)


def test_a_private_key_in_the_settings_is_not_shown(voki_bots: Any, signed: str) -> None:
    """Somebody may take one file for the other."""
    secret = Path("operator.key").read_text().splitlines()[1]
    said = voki_bots("profile", "verify", "profile.toml", "--operator", "operator.key")
    assert (said.exit_code, secret in said.output) == (2, False)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ('profile = "profile.toml"\n', "a profile needs its operator"),
        ('operator = "ed25519:x"\n', "an operator a profile"),
        ('profile = "profile.toml"\noperator = "ed25519:x"\n', "expected a public key"),
        ('profile = "none.toml"\noperator = "{key}"\n', "none.toml"),
        ('profile = "profile.toml"\noperator = "{key}"\nprofile_days = 0\n', "supervision.profile_days"),
        ('profile = "profile.toml"\noperator = "{key}"\nprofile_days = 0.001\n', "days old"),
    ],
)
def test_a_profile_that_proves_nothing_stops_a_supervisor(
    voki_bots: Any, account: dict[str, str], signed: str, table: str, why: str
) -> None:
    """Before anything connects: whoever names one wants it to count."""
    Path("s.toml").write_text(f"[supervision]\n{WAY}{table.replace('{key}', signed)}")
    said = voki_bots("supervise", "5f3c", "--config", "s.toml", **account)
    assert (said.exit_code, why in said.stderr) == (2, True)


def test_a_supervisor_is_told_what_is_proved(voki_bots: Any, account: dict[str, str], signed: str) -> None:
    """And by whose signature; then the platform is not there."""
    Path("s.toml").write_text(f'[supervision]\n{WAY}profile = "profile.toml"\noperator = "{signed}"\n')
    said = voki_bots("supervise", "5f3c", "--config", "s.toml", **account)
    assert (said.exit_code, "signed by Ana, proves: whisper" in said.stdout) == (4, True)
