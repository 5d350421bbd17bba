"""The probe against the sandbox: whatever the switches make of a platform, it finds out."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.probe.conftest import BRISK, Run, plan, probe_all, probed
from voki_bots import Bot, Prompt
from voki_bots.bots.operator import keygen
from voki_bots.bots.profile import HEARD, SILENT, CapabilityProfile, leaked, routes, sign, verify
from voki_bots.calls import Supervision
from voki_bots.cli.supervise import _supervise
from voki_bots.errors import AuthenticationError, ConfigurationError
from voki_bots.probe.routing import Pace
from voki_bots.probe.run import Probe
from voki_bots.settings import load_proof, load_supervision
from voki_bots.testing.signals import tone
from voki_bots.testing.sim import SandboxProcess, Sim

pytestmark = pytest.mark.journey

MONITOR, WHISPER, BARGE = Supervision.MONITOR, Supervision.WHISPER, Supervision.BARGE

RUNS = {
    "plain": Run({}, modes=(MONITOR,)),
    "pushed": Run(
        {"reuse_lines": True, "new_ssrc": True, "own_line": False, "no_start": True}, "push", (BARGE,)
    ),
    "joined": Run(
        {"server_offers": True, "reuse_lines": True, "video": True, "snapshot": True, "announce_self": True},
        "join",
    ),
    "leaking": Run(
        {
            "whisper_leaks": True,
            "msid_user_ids": True,
            "rsa_certificate": False,
            "join_while_queued": True,
            "insists_on_sending": True,
        }
    ),
    "forgetful": Run({"mode_lost": True, "no_msid": True, "no_ssrc": True, "audio_level": True}),
    "mixing": Run(
        {"mixed_only": True, "close_on_end": True, "silent_pushes": True, "anonymous_customers": True}
    ),
    "mistaken": Run({"wrong_supervisor": True, "reject_lines": False, "glare": True}),
    "passive": Run({"client_offers": True, "insists_on_sending": True}, modes=()),
    "unasked": Run({"supervise_by_rest": False}),
}

FOUND: list[tuple[str, str, Any]] = [
    ("plain", "signalling.serializer", "2.0.0"),
    ("plain", "signalling.socket_path", "/socket/websocket"),
    ("plain", "signalling.joins_queued", False),
    ("plain", "signalling.snapshot", False),
    ("plain", "signalling.announces_self", False),
    ("plain", "signalling.names_customers", True),
    ("plain", "signalling.replies", True),
    ("plain", "signalling.closes_on_end", False),
    ("plain", "media.first_offer", "client"),
    ("plain", "media.glare", False),
    ("plain", "media.unanswered", False),
    ("plain", "media.must_send", False),
    ("plain", "media.empty_answer", False),
    ("plain", "media.own_line", True),
    ("plain", "media.late_join", "server_offers"),
    ("plain", "media.mixed", False),
    ("plain", "media.msid", "other"),
    ("plain", "media.ssrcs", True),
    ("plain", "media.video", False),
    ("plain", "media.audio_level", False),
    ("plain", "media.certificate", "rsa"),
    ("plain", "rejoin.token_change", "kept"),
    ("plain", "rejoin.rejoin", "replaced"),
    ("plain", "monitor.confirmed", "us"),
    ("plain", "monitor.told", ("attendant", "customer", "supervisor")),
    ("plain", "monitor.hears_both", True),
    ("plain", "monitor.survives_rejoin", True),
    ("plain", "monitor.routes_as_documented", True),
    ("plain", "whisper", None),
    ("pushed", "media.line_reuse", "new_source"),
    ("pushed", "media.own_line", False),
    ("pushed", "barge.action", "taken"),
    ("pushed", "barge.confirmed", "nobody"),
    ("pushed", "barge.confirmed_after", None),
    ("pushed", "barge.routes_as_documented", True),
    ("joined", "signalling.snapshot", True),
    ("joined", "signalling.announces_self", True),
    ("joined", "media.first_offer", "server"),
    ("joined", "media.glare", None),
    ("joined", "media.unanswered", None),
    ("joined", "media.video", True),
    ("joined", "media.line_reuse", "same_source"),
    ("joined", "whisper.confirmed", "us"),
    ("joined", "whisper.routes_as_documented", True),
    ("leaking", "signalling.joins_queued", True),
    ("leaking", "media.msid", "user_id"),
    ("leaking", "media.certificate", "ecdsa"),
    ("leaking", "media.empty_answer", True),
    ("leaking", "media.must_send", False),
    ("leaking", "media.line_reuse", "new_mid"),
    ("leaking", "whisper.confirmed", "us"),
    ("leaking", "whisper.survives_rejoin", True),
    ("leaking", "whisper.routes_as_documented", False),
    ("forgetful", "media.msid", "none"),
    ("forgetful", "media.ssrcs", False),
    ("forgetful", "media.audio_level", True),
    ("forgetful", "whisper.survives_rejoin", False),
    ("forgetful", "whisper.routes_as_documented", False),
    ("mixing", "signalling.names_customers", False),
    ("mixing", "signalling.replies", False),
    ("mixing", "signalling.closes_on_end", True),
    ("mixing", "media.mixed", True),
    ("mixing", "whisper.routes_as_documented", True),
    ("mistaken", "media.glare", True),
    ("mistaken", "media.line_reuse", "new_lines"),
    ("mistaken", "whisper.confirmed", "another"),
    ("passive", "media.late_join", "client_offers"),
    ("passive", "media.must_send", True),
    ("unasked", "whisper.action", "refused"),
    ("unasked", "whisper.before", None),
    ("unasked", "whisper.routes_as_documented", False),
]


@pytest.fixture(scope="module")
def found(
    voki_sandbox: SandboxProcess, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, CapabilityProfile]:
    """What was found of each platform of `RUNS`; they are probed side by side, once."""
    return probe_all(voki_sandbox, tmp_path_factory.mktemp("probes"), RUNS, 4)


def field(profile: CapabilityProfile, path: str) -> Any:
    """A finding by its name."""
    value: Any = profile
    for name in path.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize(("run", "path", "value"), FOUND)
def test_a_variant_is_found(found: dict[str, CapabilityProfile], run: str, path: str, value: Any) -> None:
    """Each switch shows in the finding that it is about."""
    assert field(found[run], path) == value


@pytest.mark.parametrize("run", ["plain", "pushed", "joined", "leaking", "forgetful", "mixing", "mistaken"])
def test_nothing_was_left_unmeasured(found: dict[str, CapabilityProfile], run: str) -> None:
    """Every step could be made."""
    assert found[run].notes == ()


def test_a_whisper_that_leaks_is_heard_at_the_customer(found: dict[str, CapabilityProfile]) -> None:
    """Before, during and after a rejoin, as loud as at the attendant."""
    whisper = found["leaking"].whisper
    assert whisper is not None
    phases = [whisper.before, whisper.during, whisper.after]
    assert all(each is not None and each.customer > HEARD for each in phases)


def test_a_mode_that_is_lost_leaks_during_the_rejoin_alone(found: dict[str, CapabilityProfile]) -> None:
    """Before it, and once it was asked for again, the customer hears nothing."""
    whisper = found["forgetful"].whisper
    assert whisper is not None and whisper.before and whisper.during and whisper.after
    assert [leaked(WHISPER, each) for each in (whisper.before, whisper.during, whisper.after)] == [
        (),
        ("customer",),
        (),
    ]


@pytest.mark.parametrize("run", ["joined", "mixing", "mistaken"])
def test_a_whisper_that_is_kept_from_the_customer_is_not_heard_there(
    found: dict[str, CapabilityProfile], run: str
) -> None:
    """Nothing above -60 dBFS, while the attendant hears it: the measurement is no coincidence."""
    whisper = found[run].whisper
    assert whisper is not None
    for each in (whisper.before, whisper.during, whisper.after):
        assert each is not None
        assert (each.attendant > HEARD, each.customer < SILENT) == (True, True)


@pytest.mark.parametrize(
    ("run", "modes"),
    [
        ("plain", {MONITOR}),
        ("pushed", {BARGE}),
        ("joined", {WHISPER}),
        ("leaking", set()),
        ("forgetful", set()),
        ("mistaken", {WHISPER}),
        ("passive", set()),
        ("unasked", set()),
    ],
)
def test_what_an_operators_signature_proves(
    found: dict[str, CapabilityProfile], tmp_path: Path, run: str, modes: set[Supervision]
) -> None:
    """What routes, and nothing that leaks, whoever signs it."""
    trusted = keygen(tmp_path / "key")
    assert verify(sign(found[run], tmp_path / "key", by="Ana"), trusted).proven == modes


# ---------------------------------------------------------------- beside the findings


async def test_a_signed_profile_lets_a_supervisor_speak_without_the_platforms_word(
    found: dict[str, CapabilityProfile], sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a terminal, on a platform that never confirms, where it is refused without (tests/journeys)."""
    trusted, own = keygen(tmp_path / "key"), await sim.user("Marina")
    (tmp_path / "profile.toml").write_text(sign(found["pushed"], tmp_path / "key", by="Ana").to_toml())
    (tmp_path / "s.toml").write_text(
        f'[voki]\nurl = "{sim.url}"\ntenant = "{sim.tenant}"\nemail = "{own.email}"\n'
        f'[supervision]\nby = "push"\nevent = "supervise"\nprofile = "{tmp_path / "profile.toml"}"\n'
        f'operator = "{trusted}"\n'
    )
    monkeypatch.setenv("VOKI_PASSWORD", own.password())
    voki, strategy = load_supervision(tmp_path / "s.toml")
    profile = load_proof(tmp_path / "s.toml", voki)
    assert profile is not None
    people = ({"role": "attendant", "tone": 300}, {"role": "customer", "tone": 500})
    call = await sim.call(*people, switches={"supervise_by_push": True, "no_start": True})
    said, console = Prompt.from_pcm(tone(1_100, 0.5)), Console(file=io.StringIO(), width=200)
    async with sim.attend(call, Bot("minutes").record()):
        await call.heard_by_bots(25)
        await _supervise(
            voki, strategy, call.call, said, BARGE, tmp_path / "own", 0.5, console, proven=profile.proven
        )
    assert "barge: 0.5 s were said" in console.file.getvalue()  # type: ignore[attr-defined]


async def test_a_department_that_is_not_named_for_tests_is_refused(sim: Sim) -> None:
    """Before anything connects, and with what to do."""
    refused = await plan(sim, RUNS["plain"], test_departments=("another",))
    with pytest.raises(ConfigurationError, match="test_departments = "):
        Probe(refused, software="voki-bots 0")


async def test_one_account_for_two_is_refused(sim: Sim) -> None:
    """A platform may take whoever is there twice for one."""
    made = await plan(sim, RUNS["plain"])
    refused = await plan(sim, RUNS["plain"], supervisor=made.attendant, attendant=made.attendant)
    with pytest.raises(ConfigurationError, match="two accounts"):
        Probe(refused, software="voki-bots 0")


async def test_a_link_into_another_department_is_refused_and_its_call_ended(sim: Sim) -> None:
    """Nobody but the platform knows where a link leads; nobody waits in a queue because of us."""
    other = await sim.control("POST", "/departments", {})
    made = await plan(sim, RUNS["plain"], link=other["token"])
    with pytest.raises(ConfigurationError, match="leads into the department"):
        await Probe(made, software="voki-bots 0", pace=BRISK).run()
    async with sim.account() as account:
        calls = [c for c in await account.calls() if c.department_id == other["department_id"]]
    assert [call.over for call in calls] == [True]


async def test_a_link_that_the_platform_does_not_know_is_told_without_it(sim: Sim) -> None:
    """A link is as good as a key."""
    made = await plan(sim, RUNS["plain"], link="nosuchlink")
    with pytest.raises(ConfigurationError) as refused:
        await Probe(made, software="voki-bots 0", pace=BRISK).run()
    assert "nosuchlink" not in str(refused.value)


async def test_an_account_that_is_refused_is_told(sim: Sim) -> None:
    """There can be no call."""
    made = await plan(sim, RUNS["plain"])
    wrong = await plan(sim, RUNS["plain"], supervisor=_with_password(made.supervisor))
    with pytest.raises(AuthenticationError):
        await Probe(wrong, software="voki-bots 0", pace=BRISK).run()


def _with_password(credentials: Any) -> Any:
    from dataclasses import replace

    return replace(credentials, password=lambda: "wrong")


async def test_a_probe_that_takes_too_long_is_ended_with_what_it_found(sim: Sim) -> None:
    """It says so, and its call is over."""
    made = await plan(sim, RUNS["plain"])
    found = await Probe(made, software="voki-bots 0", pace=Pace(window=0.4, whole=1.5)).run()
    assert (found.signalling.serializer, found.monitor) == ("2.0.0", None)
    assert any("took longer than 1.5 s" in note for note in found.notes)
    assert await _over(sim, made.department) == [True]


async def test_a_probe_that_is_cancelled_ends_its_call(sim: Sim) -> None:
    """Ctrl-C in the middle of it."""
    made = await plan(sim, RUNS["plain"])
    told: list[str] = []
    probing = asyncio.create_task(Probe(made, software="voki-bots 0", told=told.append, pace=BRISK).run())
    async with asyncio.timeout(15.0):
        while not any(what.startswith("media are up: the attendant") for what in told):
            await asyncio.sleep(0.02)
    probing.cancel()
    await asyncio.gather(probing, return_exceptions=True)
    assert (probing.cancelled(), await _over(sim, made.department)) == (True, [True])


async def _over(sim: Sim, department: str) -> list[bool]:
    async with sim.account() as account:
        return [call.over for call in await account.calls() if call.department_id == department]


# ---------------------------------------------------------------- too long for CI

EACH: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "snapshot": ({"snapshot": True}, {"signalling.snapshot": True}),
    "announce_self": ({"announce_self": True}, {"signalling.announces_self": True}),
    "silent_pushes": ({"silent_pushes": True}, {"signalling.replies": False}),
    "close_on_end": ({"close_on_end": True}, {"signalling.closes_on_end": True}),
    "join_while_queued": ({"join_while_queued": True}, {"signalling.joins_queued": True}),
    "anonymous_customers": ({"anonymous_customers": True}, {"signalling.names_customers": False}),
    "msid_user_ids": ({"msid_user_ids": True}, {"media.msid": "user_id"}),
    "no_msid": ({"no_msid": True}, {"media.msid": "none"}),
    "no_ssrc": ({"no_ssrc": True}, {"media.ssrcs": False}),
    "server_offers": (
        {"server_offers": True},
        {
            "media.first_offer": "server",
            "media.glare": None,
            "media.unanswered": None,
            "media.empty_answer": None,
            "media.own_line": None,
        },
    ),
    "own_line": ({"own_line": False}, {"media.own_line": False, "media.empty_answer": True}),
    "reuse_lines": ({"reuse_lines": True}, {"media.line_reuse": "same_source"}),
    "new_ssrc": ({"reuse_lines": True, "new_ssrc": True}, {"media.line_reuse": "new_source"}),
    "reject_lines": ({"reject_lines": False}, {"media.line_reuse": "new_lines"}),
    "mixed_only": ({"mixed_only": True}, {"media.mixed": True, "media.line_reuse": None}),
    "video": ({"video": True}, {"media.video": True}),
    "glare": (
        {"glare": True},
        {"media.glare": True, "media.empty_answer": None, "media.own_line": None},
    ),
    "insists_on_sending": ({"insists_on_sending": True}, {"media.empty_answer": True}),
    "audio_level": ({"audio_level": True}, {"media.audio_level": True}),
    "rsa_certificate": ({"rsa_certificate": False}, {"media.certificate": "ecdsa"}),
    "whisper_leaks": ({"whisper_leaks": True}, {"whisper.routes_as_documented": False}),
    "mode_lost": (
        {"mode_lost": True},
        {
            "monitor.routes_as_documented": False,
            "monitor.survives_rejoin": False,
            "whisper.routes_as_documented": False,
            "whisper.survives_rejoin": False,
        },
    ),
    "no_start": (
        {"no_start": True},
        {
            f"{mode}.{name}": value
            for mode in Supervision
            for name, value in (("confirmed", "nobody"), ("told", ()))
        },
    ),
    "wrong_supervisor": (
        {"wrong_supervisor": True},
        {f"{mode}.confirmed": "another" for mode in Supervision},
    ),
}
"""Each switch alone: what it changes of what is found of a platform without any."""

LEFT_OUT = ("rejoin.silence", "before", "during", "after", "confirmed_after")


def flat(profile: CapabilityProfile) -> dict[str, Any]:
    """All findings by name, without what is measured in seconds or decibels."""
    made: dict[str, Any] = {}
    for part in ("signalling", "media", "rejoin", *map(str, Supervision)):
        for name, value in getattr(profile, part).model_dump().items():
            if f"{part}.{name}" not in LEFT_OUT and name not in LEFT_OUT:
                made[f"{part}.{name}"] = value
    return made


@pytest.fixture(scope="module")
def each(
    voki_sandbox: SandboxProcess, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, CapabilityProfile]:
    """What is found of a platform with each switch alone, and without any, in all three modes."""
    runs = {name: Run(switches, modes=tuple(Supervision)) for name, (switches, _) in EACH.items()}
    runs["none"] = Run({}, modes=tuple(Supervision))
    return probe_all(voki_sandbox, tmp_path_factory.mktemp("each"), runs, 3)


@pytest.mark.soak
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("switch", EACH)
def test_a_switch_changes_what_it_is_about_and_nothing_else(
    each: dict[str, CapabilityProfile], switch: str
) -> None:
    """Compared with a platform without any switch."""
    without, found = flat(each["none"]), flat(each[switch])
    assert {name: value for name, value in found.items() if value != without[name]} == EACH[switch][1]


@pytest.mark.soak
@pytest.mark.timeout(1_200)
def test_a_platform_without_switches_routes_in_all_modes(each: dict[str, CapabilityProfile]) -> None:
    """Nothing stands in the way of a signature."""
    assert [mode for mode in Supervision if routes(mode, each["none"].routing(mode))] == list(Supervision)


@pytest.mark.soak
async def test_a_platform_that_waits_for_our_offers_is_measured_as_it_is(sim: Sim) -> None:
    """Who is heard on an offer of ours before a rejoin is not heard after it, which proves nothing."""
    found = await probed(sim, Run({"client_offers": True}))
    assert found.whisper is not None and found.whisper.before is not None
    assert found.whisper.before.attendant > HEARD
    assert (found.media.late_join, routes(WHISPER, found.whisper)) == ("client_offers", False)


@pytest.mark.soak
async def test_a_platform_that_wants_video_is_probed_all_the_same(sim: Sim) -> None:
    """It answers our second offer, which has a line of it."""
    found = await probed(sim, Run({"insists_on_video": True}))
    assert found.whisper is not None
    assert (found.media.unanswered, found.media.video) == (True, None)
    assert found.whisper.routes_as_documented
