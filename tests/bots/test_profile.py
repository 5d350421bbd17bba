"""The capability profile: it says again what was written, and proves nothing that nobody signed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.bots.operator import keygen
from voki_bots.bots.profile import (
    CapabilityProfile,
    Levels,
    MediaFindings,
    RejoinFindings,
    Routing,
    SignallingFindings,
    host_of,
    leaked,
    load_profile,
    right,
    routes,
    sign,
    verify,
)
from voki_bots.bots.supervision import HEARD_BY
from voki_bots.calls import Role, Supervision
from voki_bots.errors import ConfigurationError

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HEARD_BY_ONE = Levels(attendant=-12.0, customer=-110.4)
GOOD = Routing(
    action="taken",
    confirmed="us",
    confirmed_after=0.012,
    told=("attendant", "supervisor"),
    before=HEARD_BY_ONE,
    during=HEARD_BY_ONE,
    after=HEARD_BY_ONE,
    hears_both=True,
    survives_rejoin=True,
    routes_as_documented=True,
)
PROFILE = CapabilityProfile(
    tenant="acme",
    host="voki.example",
    department="d7",
    made=NOW,
    software="voki-bots 0.1.0",
    signalling=SignallingFindings(serializer="2.0.0", snapshot=False),
    media=MediaFindings(first_offer="client", msid="user_id"),
    rejoin=RejoinFindings(token_change="kept", rejoin="replaced", silence=0.4),
    whisper=GOOD,
    barge=GOOD.model_copy(update={"routes_as_documented": False}),
    notes=("nobody waited for a token to end",),
)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An operator's private key, and its public half."""
    file = tmp_path_factory.mktemp("operator") / "key"
    return file, keygen(file)


@pytest.fixture
def signed(key: tuple[Path, str], tmp_path: Path) -> Path:
    """A profile that the operator signed."""
    file = tmp_path / "profile.toml"
    file.write_text(sign(PROFILE, key[0], by="Ana, operations").to_toml())
    return file


def load(file: Path, trusted: str | Path, **asked: Any) -> CapabilityProfile:
    """Read it as about the tenant and host that it is about."""
    return load_profile(
        file, **{"trusted": trusted, "tenant": "acme", "host": "voki.example", "now": NOW, **asked}
    )


# ---------------------------------------------------------------- what is proved


def test_a_signed_profile_proves_what_was_measured(signed: Path, key: tuple[Path, str]) -> None:
    """The mode that routes is proved, the ones that do not or were not tried are not."""
    assert load(signed, key[1]).proven == {Supervision.WHISPER}


def test_a_profile_that_was_only_read_proves_nothing(signed: Path) -> None:
    """It may say what it likes before somebody checks its signature."""
    assert CapabilityProfile.from_toml(signed.read_text()).proven == frozenset()


def test_a_changed_copy_of_a_good_profile_proves_nothing(signed: Path, key: tuple[Path, str]) -> None:
    """What was found good are these findings, and no others."""
    assert load(signed, key[1]).model_copy(update={"barge": GOOD}).proven == frozenset()


@pytest.mark.parametrize("phase", ["before", "during", "after"])
def test_a_mode_needs_all_three_measurements(phase: str) -> None:
    """One that is missing proves as little as one that leaks."""
    leak = Levels(attendant=-12.0, customer=-59.9)
    for found in (None, leak, Levels(attendant=-41.0, customer=-120.0)):
        assert not routes(Supervision.WHISPER, GOOD.model_copy(update={phase: found}))


@pytest.mark.parametrize("change", [{"routes_as_documented": False}, {"action": "refused"}])
def test_a_mode_needs_the_probes_own_word_too(change: dict[str, Any]) -> None:
    """Levels alone do not do."""
    assert routes(Supervision.WHISPER, GOOD)
    assert not routes(Supervision.WHISPER, GOOD.model_copy(update=change))


@pytest.mark.parametrize("mode", Supervision)
def test_who_is_to_hear_is_what_the_supervisor_promises(mode: Supervision) -> None:
    """The profile's table is that of `voki_bots.bots.supervision`."""
    levels = {role: -12.0 if role in HEARD_BY[mode] else -127.0 for role in (Role.ATTENDANT, Role.CUSTOMER)}
    found = Levels(attendant=levels[Role.ATTENDANT], customer=levels[Role.CUSTOMER])
    wrong = Levels(**{who: -12.0 if level < -60 else -127.0 for who, level in found.model_dump().items()})
    assert (right(mode, found), leaked(mode, found), right(mode, wrong)) == (True, (), False)


# ---------------------------------------------------------------- who answers for it


def changes(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Each leaf of a profile, and another value that it might have."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from changes(inner, (*path, name))
        return
    other: Any
    match value:
        case bool():
            other = not value
        case int() | float():
            other = value + 1
        case [*_]:
            other = value[1:]
        case "2026-03-01T12:00:00Z":
            other = "2026-03-01T12:00:01Z"
        case str():
            known = {"taken": "refused", "us": "another", "client": "server", "user_id": "none"}
            other = {**known, "kept": "lost", "replaced": "lost"}.get(value, f"{value}x")
    yield path, other


LEAVES = list(changes(PROFILE.model_dump(mode="json", exclude_none=True)))


@pytest.mark.parametrize(
    ("path", "other"), LEAVES, ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else ""
)
def test_whatever_is_changed_is_noticed(
    signed: Path, key: tuple[Path, str], path: tuple[str, ...], other: Any
) -> None:
    """Each field is covered by the signature; the format's version is refused before it."""
    tampered = CapabilityProfile.from_toml(signed.read_text()).model_dump(mode="json", exclude_none=True)
    at = tampered
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = other
    with pytest.raises(
        ConfigurationError if path != ("version",) else ValueError, match=r"changed since|version"
    ):
        verify(CapabilityProfile.model_validate(tampered), key[1])


@pytest.mark.parametrize("name", ["by", "key", "value"])
def test_a_changed_signature_is_noticed(
    signed: Path, key: tuple[Path, str], tmp_path: Path, name: str
) -> None:
    """Who signed, with which key, and the signature itself."""
    profile = CapabilityProfile.from_toml(signed.read_text())
    assert profile.signature is not None
    other = {"by": "Somebody", "key": keygen(tmp_path / "another"), "value": "A" * 86 + "=="}[name]
    forged = profile.model_copy(update={"signature": profile.signature.model_copy(update={name: other})})
    with pytest.raises(ConfigurationError, match="another key" if name == "key" else "changed since"):
        verify(forged, key[1])


def test_what_was_not_measured_cannot_be_added(signed: Path, key: tuple[Path, str]) -> None:
    """A mode that the operator never saw is a change like any other."""
    forged = CapabilityProfile.from_toml(signed.read_text()).model_copy(update={"monitor": GOOD})
    with pytest.raises(ConfigurationError, match="changed since"):
        verify(forged, key[1])


def test_a_profile_that_nobody_signed_is_refused(key: tuple[Path, str], tmp_path: Path) -> None:
    """With the command that signs it, and the file."""
    (tmp_path / "p.toml").write_text(PROFILE.to_toml())
    with pytest.raises(ConfigurationError, match=r"p\.toml: the profile is not signed; .* profile sign"):
        load(tmp_path / "p.toml", key[1])


def test_a_profile_of_another_key_is_refused(signed: Path, tmp_path: Path) -> None:
    """A good signature of somebody whom nobody trusts."""
    with pytest.raises(ConfigurationError, match="another key than the operator's"):
        load(signed, keygen(tmp_path / "another"))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"tenant": "emca"}, "about the tenant 'acme', and 'emca' is asked for"),
        ({"host": "voki.example:8443"}, "about the host 'voki.example'"),
        ({"max_age": timedelta(days=30), "now": NOW + timedelta(days=31)}, "31 days old, and 30 are allowed"),
        ({"now": NOW - timedelta(days=2)}, "of the future"),
    ],
)
def test_a_profile_about_something_else_is_refused(
    signed: Path, key: tuple[Path, str], asked: dict[str, Any], why: str
) -> None:
    """Another tenant, another host, or another time."""
    with pytest.raises(ConfigurationError, match=why):
        load(signed, key[1], **asked)


def test_a_profile_of_the_right_age_is_taken(signed: Path, key: tuple[Path, str]) -> None:
    """The day before it is too old."""
    asked = {"max_age": timedelta(days=30), "now": NOW + timedelta(days=29, hours=23)}
    assert load(signed, key[1], **asked).proven


def test_signing_again_replaces_the_signature(signed: Path, tmp_path: Path) -> None:
    """Another operator may answer for it instead."""
    trusted = keygen(tmp_path / "another")
    again = sign(CapabilityProfile.from_toml(signed.read_text()), tmp_path / "another", by="Bea")
    assert again.signature is not None
    assert (again.signature.by, verify(again, trusted).proven) == ("Bea", {Supervision.WHISPER})


def test_whoever_signs_has_a_name(key: tuple[Path, str]) -> None:
    """Nobody cannot answer for anything."""
    with pytest.raises(ConfigurationError, match="expected the name of who signs"):
        sign(PROFILE, key[0], by="  ")


# ---------------------------------------------------------------- the file


_part = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)
_levels = st.builds(
    Levels,
    attendant=st.floats(-127.0, 6.0).map(lambda level: round(level, 1)),
    customer=st.floats(-127.0, 6.0),
)
_routing = st.builds(
    Routing,
    action=st.sampled_from(["taken", "refused", "unanswered"]),
    why=_part,
    confirmed_after=st.none() | st.floats(0, 1e9),
    told=st.lists(st.sampled_from(["attendant", "customer", "supervisor"]), max_size=3).map(tuple),
    before=st.none() | _levels,
    during=st.none() | _levels,
    after=st.none() | _levels,
    survives_rejoin=st.none() | st.booleans(),
    routes_as_documented=st.booleans(),
)
_profiles = st.builds(
    CapabilityProfile,
    tenant=_part,
    host=_part,
    department=_part,
    made=st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - naive bounds are wanted
    software=_part,
    rejoin=st.builds(RejoinFindings, silence=st.none() | st.floats(0, 1e6)),
    monitor=st.none() | _routing,
    whisper=st.none() | _routing,
    notes=st.lists(_part, max_size=3).map(tuple),
)


@given(_profiles)
def test_a_file_says_again_what_was_written(profile: CapabilityProfile) -> None:
    """Whatever names, texts and numbers it holds."""
    assert CapabilityProfile.from_toml(profile.to_toml()) == profile


@given(_profiles)
def test_a_signature_outlives_the_file(key: tuple[Path, str], profile: CapabilityProfile) -> None:
    """What was signed, written and read again is still what was signed."""
    file, trusted = key
    again = CapabilityProfile.from_toml(sign(profile, file, by="Ana").to_toml())
    wanted = {mode for mode in Supervision if routes(mode, profile.routing(mode))}
    assert verify(again, trusted).proven == wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("version = ", "not valid TOML"),
        ("version = 2", "profile.version"),
        ('tenant = "x"\nsecret = 1', "profile.secret"),
        ("[whisper.before]\nattendant = nan\ncustomer = 0.0", "profile.whisper.before.attendant"),
    ],
)
def test_what_is_no_profile_is_told(text: str, why: str) -> None:
    """With the place of each problem."""
    with pytest.raises(ConfigurationError, match=why):
        CapabilityProfile.from_toml(text)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, key: tuple[Path, str]) -> None:
    """By its name, once."""
    with pytest.raises(ConfigurationError) as refused:
        load(tmp_path / "none.toml", key[1])
    assert str(refused.value).count("none.toml") == 1


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Voki.example/", "voki.example"),
        ("http://127.0.0.1:4000", "127.0.0.1:4000"),
        ("https://a:b@voki.example:8443/api", "voki.example:8443"),
    ],
)
def test_a_host_is_named_in_one_way(url: str, host: str) -> None:
    """Without scheme, path, user or password."""
    assert host_of(url) == host
