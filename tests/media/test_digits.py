"""Keys of a telephone, as RFC 4733 tells them, and as networks mangle them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain

import pytest

from voki_bots.calls import CallEvent, DigitPressed, GapCause, as_json
from voki_bots.media import sdp
from voki_bots.media.digits import KEYS, Keypad, Press, offered
from voki_bots.media.pipeline import Pipeline
from voki_bots.media.rtp import DIGITS, Received

RATE, FRAME = 48_000, 960


def event(digit: str, ticks: int, *, end: bool = False) -> bytes:
    return bytes([KEYS.index(digit), 0x80 * end | 10]) + ticks.to_bytes(2, "big")


def pressed(digit: str, at: float, packets: int = 5) -> list[tuple[float, int, bytes]]:
    """A press as (when it came, timestamp, payload): updates every 20 ms, and three ends."""
    said = [event(digit, (n + 1) * FRAME, end=n >= packets - 1) for n in range(packets - 1)]
    said += [event(digit, packets * FRAME, end=True)] * 3
    return [(at + n * 0.02, round(at * RATE), payload) for n, payload in enumerate(said)]


def heard(came: Sequence[tuple[float, int, bytes]]) -> list[Press]:
    keypad, found = Keypad(), list[Press]()
    for now, timestamp, payload in came:
        found += keypad.take(payload, timestamp, RATE, timestamp / RATE, now)
    return found + keypad.tick(came[-1][0] + 1.0)


def test_every_key_is_told_once_with_its_length() -> None:
    """Updates and repeated ends are one press."""
    came = list(chain(*(pressed(digit, n) for n, digit in enumerate(KEYS, 1))))
    assert heard(came) == [Press(digit, float(n), 0.1) for n, digit in enumerate(KEYS, 1)]


def test_ends_alone_are_a_press() -> None:
    """Chromium sends nothing else."""
    assert heard([(1.0, RATE, event("7", FRAME, end=True))] * 3) == [Press("7", 1.0, 0.02)]


@pytest.mark.parametrize("seed", range(20))
def test_loss_and_disorder_change_no_digit(seed: int) -> None:
    """However packets are lost, doubled or reordered by a few places, each key that came is told once."""
    chance = random.Random(seed)
    came = list(chain(*(pressed(digit, n * 0.2) for n, digit in enumerate("1232*", 1))))
    mangled = [one for one in came for _ in range(chance.choice([0, 1, 1, 2]))]
    order = sorted(range(len(mangled)), key=lambda n: n + chance.uniform(0, 3))
    kept = {timestamp for _, timestamp, _ in mangled}
    wanted = [d for n, d in enumerate("1232*", 1) if round(n * 0.2 * RATE) in kept]
    assert [press.digit for press in heard([mangled[n] for n in order])] == wanted


def test_a_lost_end_is_made_up_for() -> None:
    """What was last said counts, a third of a second later or when the next key is pressed."""
    came = [*pressed("1", 1.0)[:3], *pressed("2", 2.0)[:2]]
    assert [(p.digit, round(p.duration, 3)) for p in heard(came)] == [("1", 0.06), ("2", 0.04)]


def test_a_long_press_is_one() -> None:
    """One event lasts 1.37 s at most; the next goes on where it ends (RFC 4733 section 2.5.1.3)."""
    came = [(1.0, RATE, event("5", 0xFFFF)), (2.4, RATE + 0xFFFF, event("5", 0xFFFF, end=True))]
    ((press),) = heard(came)
    assert (press.digit, press.at, round(press.duration, 2)) == ("5", 1.0, 2.73)


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x05\x80\x03", b"\x10\x80\x03\xc0", b"\xff" * 4])
def test_what_is_no_key_is_nothing(payload: bytes) -> None:
    """Cut short, or a signal of other kinds (a flash hook, tones of modems)."""
    assert heard([(1.0, RATE, payload)]) == []


def test_a_number_means_one_thing_in_a_bundle() -> None:
    """Our offer takes the far end's numbers, and never one that means something else to it."""
    assert (offered({110: 48_000}, {96}), offered({}, {96}), offered({}, {126})) == (
        {110: 48_000},
        {126: 48_000},
        {},
    )


def test_an_offer_asks_for_telephone_events() -> None:
    """Lines of audio have the type, lines of video do not."""
    text = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\nm=video 9 UDP/TLS/RTP/SAVPF 97\r\na=mid:1\r\n"
    audio, video = sdp.parse(sdp.presentable(text, events={126: 48_000}), "offer").sections
    assert (sdp.events_of(audio), sdp.events_of(video)) == ({126: 48_000}, {})


class Call:
    """A pipeline to which somebody talks and presses keys."""

    def __init__(self) -> None:
        self.time, self.sequence = 0.0, 0
        self.events: list[CallEvent] = []
        self.pipeline = Pipeline(clock=lambda: self.time, zero=0.0, report=self.events.append)

    def put(self, at: float, timestamp: int, payload: bytes, kind: str = "audio") -> None:
        self.time = at
        came = ("0", 7, kind, 111, self.sequence, timestamp, False, payload, None, at, RATE)
        self.pipeline.push(0, Received(*came))
        self.sequence += 1

    def talk(self, start: float, end: float) -> None:
        for n in range(round(start * 50), round(end * 50)):
            self.put(n * 0.02, 7_000 + n * FRAME, b"\xf8\x01")
            self.pipeline.tick()

    def press(self, digit: str, at: float) -> None:
        for now, timestamp, payload in pressed(digit, at):
            self.put(now, 7_000 + timestamp, payload, DIGITS)

    @property
    def pressed(self) -> list[DigitPressed]:
        return [event for event in self.events if isinstance(event, DigitPressed)]


def test_a_press_lies_in_call_time_and_breaks_nothing() -> None:
    """It is where its timestamp says, and no packet around it counts as lost."""
    call = Call()
    call.talk(0.0, 1.0)
    call.press("4", 1.0)
    call.talk(1.2, 2.0)
    call.pipeline.close()
    ((one),) = call.pressed
    assert (one.digit, round(one.at, 2), round(one.duration, 2), one.track.ssrc) == ("4", 1.0, 0.1, 7)
    assert GapCause.LOST not in [getattr(e, "cause", None) for e in call.events]


def test_nothing_of_a_pause_is_told() -> None:
    """Keys pressed in it, and one whose press reaches into it, stay unknown afterwards too."""
    call = Call()
    call.talk(0.0, 1.0)
    call.put(1.0, 7_000 + RATE, event("1", FRAME), DIGITS)
    call.pipeline.hold(GapCause.MASKED)
    call.press("2", 2.0)
    call.put(2.5, 7_000 + round(2.5 * RATE), event("3", FRAME), DIGITS)
    call.pipeline.release()
    call.put(2.6, 7_000 + round(2.5 * RATE), event("3", 5 * FRAME, end=True), DIGITS)
    call.put(2.7, 7_000 + RATE, event("1", 5 * FRAME, end=True), DIGITS)
    call.press("4", 3.0)
    assert [one.digit for one in call.pressed] == ["4"]


def test_neither_a_log_nor_the_journal_has_the_digit() -> None:
    """It may be one of a secret number."""
    call = Call()
    call.talk(0.0, 1.0)
    call.press("#", 1.0)
    assert ("#" in repr(call.pressed[0]), "digit" in as_json(call.pressed[0])) == (False, False)
