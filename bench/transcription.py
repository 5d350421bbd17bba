"""What live captions are worth and what they cost: errors, delays, CPU, beside plain Vosk on the same sound.

`python -m bench transcription live dense silent --json`

live: four people in a call in the sandbox, over WebRTC with 5 % loss. What is shown is held against Vosk fed
by hand, in the same chunks, with the file that was recorded of the same call: whatever that shows at a moment
of the call, we show so much later. dense: ten tracks of which each speaks 40 % of the time, recognised on one
core, beside the same gate and Vosk by hand. silent: what a track costs on which nobody speaks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from voki_bots_transcriber import Transcriber, TranscriberSettings
from voki_bots_transcriber.child import _speech
from voki_bots_transcriber.engine import RATE
from voki_bots_transcriber.gate import Feed, SpeechGate
from voki_bots_transcriber.vosk_engine import VoskEngine, VoskRecogniser

from bench.counters import family
from voki_bots import AudioFrame, Bot, UtteranceHeard, Vad, find_model
from voki_bots.service.telemetry import setup
from voki_bots.testing import FakeAttendance, decode
from voki_bots.testing.sim import SandboxProcess, Sim

CHUNK = RATE // 10
SPEECH = files("voki_bots.sandbox") / "speech" / "ko"
INDEX: dict[str, Any] = json.loads((SPEECH / "index.json").read_text("utf-8"))
NAMES = sorted(INDEX)
WARM = 4
PARTS = ("live", "dense", "silent")


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 if a bound is broken."""
    parser = argparse.ArgumentParser(
        prog="python -m bench transcription", description=__doc__.splitlines()[0]
    )
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each part lasts")
    parser.add_argument("--tracks", type=int, default=10, help="tracks of the dense part")
    parser.add_argument(
        "--loss", type=float, default=0.05, help="share of packets that are lost in the live part"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    setup("console", sys.stderr, level="error")
    result: dict[str, Any] = {}
    if "live" in given.parts:
        result["live"] = asyncio.run(live(given.seconds, given.loss))
    if "dense" in given.parts:
        result["dense"] = asyncio.run(dense(given.seconds, given.tracks))
    if "silent" in given.parts:
        result["silent"] = silent()
    bounds = list(_bounds(result))
    result["bounds"] = [{"what": what, "is": is_, "allowed": allowed} for what, is_, allowed in bounds]
    print(json.dumps(result) if given.json else _table(result))
    return int(any(is_ > allowed for _, is_, allowed in bounds))


def _bounds(result: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    if live_ := result.get("live"):
        errors = live_["cer"]
        yield "cer, above the clean files", errors["live"], errors["clean"] + 0.10
        yield "cer, above the recorder's files", errors["live"], errors["recorded"] + 0.02
        yield "wrong roles", live_["wrong_roles"], 0.0
        yield "partials later than by hand, s p95", live_["added"]["p95"], 0.25
        yield "finals after the end of speech, s p95", live_["final"]["p95"], 1.2
    if dense_ := result.get("dense"):
        yield "finals on one core, s p95", dense_["final"]["p95"], 1.5
        yield "cpu, of gated plain Vosk", dense_["cpu_ratio"], 1.1
    if silent_ := result.get("silent"):
        yield "share of a core on a silent track", silent_["cpu"], 0.001


def _table(result: dict[str, Any]) -> str:
    lines = ["| what | is | allowed |", "|---|---|---|"]
    lines += [f"| {each['what']} | {each['is']:.4g} | {each['allowed']:.4g} |" for each in result["bounds"]]
    return "\n".join(lines)


def cer(known: Sequence[str], heard: Sequence[str]) -> float:
    """The character error rate, without spaces: those of Korean models are their own."""
    return float(jiwer.cer("".join(known).replace(" ", ""), "".join(heard).replace(" ", "")))


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Middle and tail."""
    ordered = sorted(values)
    last = len(ordered) - 1
    at = {"p50": ordered[len(ordered) // 2], "p95": ordered[min(last, int(len(ordered) * 0.95))]}
    return {**{name: round(value, 3) for name, value in at.items()}, "n": len(ordered)}


# ---------------------------------------------------------------- live


async def live(seconds: float, loss: float) -> dict[str, Any]:
    """Four people in one call, two of them of one role, talking over each other."""
    sandbox = await asyncio.to_thread(SandboxProcess)
    try:
        with tempfile.TemporaryDirectory() as root:
            async with Sim(sandbox, Path(root)) as sim:
                return await _live(sim, seconds, loss)
    finally:
        sandbox.close()


async def _live(sim: Sim, seconds: float, loss: float) -> dict[str, Any]:
    roles = ("attendant", "customer", "supervisor", "customer")
    people = [
        {"role": role, "name": f"P{n}", "speech": [NAMES[2 * n][:4], NAMES[2 * n + 1][:4]], "redundant": True}
        for n, role in enumerate(roles)
    ]
    call = await sim.call(*people, switches={"msid_user_ids": True})
    shown: list[tuple[float, UtteranceHeard]] = []
    bot = Bot("bench").record(stereo=False, mix=False, participants=False, picture=False, captions=False)
    bot.transcribe(language="ko", warm=WARM)

    async with sim.attend(call, bot) as session:
        events = session.bus.events("bench")

        async def read() -> None:
            async for event in events:
                if isinstance(event, UtteranceHeard):
                    shown.append((session.now, event))

        reading = asyncio.create_task(read())
        await call.heard_by_bots(50)
        # Measured from when the recognisers are warm: a service has been running before its calls.
        (transcriber,) = [seat.plugin for seat in session._seats if isinstance(seat.plugin, Transcriber)]
        (recognition,) = transcriber.recognitions.values()
        while recognition.warmed < WARM:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.1)
        since, heard = session.now, round(session.now * 50)
        if loss:
            await call.fault("lose", p=loss)
        await call.heard_by_bots(heard + round(seconds * 50 * (1 - loss)), timeout=seconds + 60)
    await reading
    shown = [each for each in shown if each[0] > since + 1.0]
    sidecar = json.loads((session.directory / "call.json").read_text())
    return await asyncio.to_thread(_judge, shown, sidecar, session.directory, loss)


def _judge(
    shown: list[tuple[float, UtteranceHeard]], sidecar: dict[str, Any], directory: Path, loss: float
) -> dict[str, Any]:
    engine = VoskEngine(find_model("ko-small").path)
    names = {person["id"]: person["name"] for person in sidecar["participants"]}
    added: list[float] = []
    final: list[float] = []
    errors: dict[str, list[tuple[str, str]]] = {"live": [], "recorded": []}
    wrong = 0
    for track in sidecar["tracks"]:
        if not track["file"]:
            continue
        own = [(at, said) for at, said in shown if str(said.track) == track["id"]]
        samples = decode(directory / track["file"], RATE)
        by_hand, ends = _by_hand(engine, samples, track["file_start"])
        speaker = int(names[track["participant"]][1:])
        wrong += sum(str(said.role) != track["role"] for _, said in own)
        known = [str(INDEX[NAMES[2 * speaker + n]]["text"]) for n in (0, 1)]
        finals = [said for _, said in own if said.final and said.text]
        errors["live"] += _paired(known, [said.text for said in finals])
        errors["recorded"] += _paired(known, [text for _, text in ends])
        added += _added(own, by_hand)
        final += _after(own, samples, track["file_start"])
    clean = [_plain(engine, decode(str(SPEECH / name), RATE)) for name in NAMES]
    return {
        "loss": loss,
        "cer": {
            "clean": round(cer([str(INDEX[name]["text"]) for name in NAMES], clean), 4),
            **{name: round(cer(*zip(*pairs, strict=True)), 4) for name, pairs in errors.items()},
        },
        "utterances": len(errors["live"]),
        "wrong_roles": wrong,
        "added": percentiles(added),
        "final": percentiles(final),
    }


def _paired(known: Sequence[str], heard: Sequence[str]) -> list[tuple[str, str]]:
    """Hold each utterance against the sentence that it can only be; the first and last may be cut."""
    pairs = []
    for text in heard[1:-1]:
        best = min(known, key=lambda sentence: cer([sentence], [text]))
        pairs.append((best, text))
    return pairs


def _by_hand(
    engine: VoskEngine, samples: np.ndarray, start: float
) -> tuple[list[tuple[float, str]], list[tuple[float, str]]]:
    """Feed Vosk a recording in chunks of 0.1 s behind the same gate: partials and finals, with call time."""
    recogniser, gate = engine.recogniser(), SpeechGate()
    partials: list[tuple[float, str]] = []
    finals: list[tuple[float, str]] = []
    for at in range(0, len(samples) - CHUNK, CHUNK):
        now = start + (at + CHUNK) / RATE
        for step in gate.take(samples[at : at + CHUNK], start + at / RATE):
            if isinstance(step, Feed):
                done = recogniser.feed(step.samples.tobytes())
                partials.append((now, recogniser.result()))
            else:
                done = recogniser.final()
            if done is not None and done.text:
                finals.append((now, done.text))
    return partials, finals


def _added(own: Sequence[tuple[float, UtteranceHeard]], by_hand: Sequence[tuple[float, str]]) -> list[float]:
    """How much later each text was shown live than by hand, where both showed it."""
    found = []
    for at, said in own:
        if said.final or not said.text:
            continue
        same = [t for t, text in by_hand if text == said.text and abs(t - at) < 2.0]
        if same:
            found.append(at - min(same, key=lambda t: abs(at - t)))
    return found


def _after(own: Sequence[tuple[float, UtteranceHeard]], samples: np.ndarray, start: float) -> list[float]:
    """How long after its last loud moment each final came."""
    vad = Vad(rate=RATE, release_seconds=0.5)
    ends = [each.end for each in [*vad.process(samples, start), *vad.flush()]]
    found = []
    for at, said in own:
        if said.final and said.text:
            before = [end for end in ends if said.start < end <= at]
            if before:
                found.append(at - max(before))
    return found


def _plain(engine: VoskEngine, samples: np.ndarray) -> str:
    recogniser = engine.recogniser()
    texts = []
    for at in range(0, len(samples), CHUNK):
        if (done := recogniser.feed(samples[at : at + CHUNK].tobytes())) is not None:
            texts.append(done.text)
    return " ".join([*texts, recogniser.final().text])


# ---------------------------------------------------------------- dense


def conversation(track: int, seconds: float) -> np.ndarray:
    """Somebody who speaks 40 % of the time: a sentence, then silence for the rest."""
    parts: list[np.ndarray] = [np.zeros(round((track % 5) * 1.1 * RATE), np.int16)]
    number = track
    while sum(map(len, parts)) < seconds * RATE:
        said = decode(str(SPEECH / NAMES[number % len(NAMES)]), RATE)
        loud = np.flatnonzero(np.abs(said) > 300)
        said = said[loud[0] : loud[-1]]
        parts += [said, np.zeros(round(len(said) * 1.5), np.int16)]
        number += 3
    return np.concatenate(parts)[: round(seconds * RATE)]


async def dense(seconds: float, tracks: int) -> dict[str, Any]:
    """Many tracks in real time with the recognisers on one core; CPU beside the same by hand."""
    sound = [conversation(n, seconds) for n in range(tracks)]
    hand = await asyncio.to_thread(_warm, tracks)
    with tempfile.TemporaryDirectory() as root:
        settings = TranscriberSettings(language="ko", warm=tracks, threads=2)
        async with Transcriber(settings) as transcriber:
            (recognition,) = transcriber.recognitions.values()
            assert recognition.pid is not None
            while recognition.warmed < tracks:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.1)
            _pin(recognition.pid)
            before = _cpu(recognition.pid)
            # Both at once, each on a core of its own: what the machine does meanwhile, it does to both.
            by_hand_too = asyncio.create_task(asyncio.to_thread(_hand_cpu, hand, sound))
            final = await _play(transcriber, sound, Path(root))
            spent = _cpu(recognition.pid) - before
            by_hand = await by_hand_too
    audio = tracks * seconds
    return {
        "tracks": tracks,
        "seconds": seconds,
        "final": percentiles(final),
        "cpu_per_audio_second": round(spent / audio, 5),
        "cpu_by_hand": round(by_hand / audio, 5),
        "cpu_ratio": round(spent / by_hand, 3),
        "cores": round(spent / seconds, 3),
    }


async def _play(transcriber: Transcriber, sound: Sequence[np.ndarray], root: Path) -> list[float]:
    """Feed all tracks as they would come; give how long after its end each utterance was final."""
    loop, final = asyncio.get_running_loop(), []
    async with FakeAttendance(root) as call, transcriber.attend(call):
        people = [call.track(call.join(f"P{n}", role="customer")) for n in range(len(sound))]
        vads = [Vad(rate=RATE, release_seconds=0.5) for _ in sound]
        ends: list[list[float]] = [[] for _ in sound]
        began = loop.time()
        seen = 0
        for at in range(0, len(sound[0]) - CHUNK, CHUNK):
            await asyncio.sleep(max(0.0, began + (at + CHUNK) / RATE - loop.time()))
            start = at / RATE
            for track, samples, vad, found in zip(people, sound, vads, ends, strict=True):
                piece = samples[at : at + CHUNK]
                found += [each.end for each in vad.process(piece, start)]
                await call.feed_frames([AudioFrame(track, piece, RATE, start)])
            now = loop.time() - began
            for event in call.published[seen:]:
                if isinstance(event, UtteranceHeard) and event.final and event.text:
                    mine = [end for end in ends[people.index(event.track)] if end > event.start]  # type: ignore[arg-type]
                    if mine:
                        final.append(now - mine[-1])
            seen = len(call.published)
    return final


def _warm(count: int) -> list[VoskRecogniser]:
    """Recognisers by hand, one for each track, as warm as ours."""
    engine = VoskEngine(find_model("ko-small").path)
    recognisers = [engine.recogniser() for _ in range(count)]
    for recogniser in recognisers:
        recogniser.feed(_speech())
        recogniser.final()
    return recognisers


def _hand_cpu(recognisers: Sequence[VoskRecogniser], sound: Sequence[np.ndarray]) -> float:
    """CPU seconds of gate and Vosk by hand, in real time."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # of this thread alone
    gates = [SpeechGate() for _ in sound]
    began, spent = time.monotonic(), time.thread_time()
    for at in range(0, len(sound[0]) - CHUNK, CHUNK):
        time.sleep(max(0.0, began + (at + CHUNK) / RATE - time.monotonic()))
        for samples, gate, recogniser in zip(sound, gates, recognisers, strict=True):
            for step in gate.take(samples[at : at + CHUNK], at / RATE):
                if isinstance(step, Feed):
                    recogniser.feed(step.samples.tobytes())
                    recogniser.result()
                else:
                    recogniser.final()
    return time.thread_time() - spent


def _pin(pid: int) -> None:
    """Let a process and everything of it run on one core alone."""
    core = {min(os.sched_getaffinity(0))}
    for each in family(pid):
        for thread in Path(f"/proc/{each}/task").iterdir():
            os.sched_setaffinity(int(thread.name), core)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------- silent


def silent(seconds: float = 300.0) -> dict[str, Any]:
    """What the gate costs on a track on which nobody speaks: comfort noise, 0.1 s at a time."""
    gate, noise = SpeechGate(), np.random.default_rng(1).normal(0, 3, CHUNK).astype(np.int16)
    began = time.process_time()
    fed = sum(bool(gate.take(noise, n / 10)) for n in range(round(seconds * 10)))
    return {"cpu": round((time.process_time() - began) / seconds, 6), "fed": fed}
