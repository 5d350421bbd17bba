"""Supervision from the console: one websocket for each person and call.

Whoever opens it sits at the desk of the call's bot until it closes; docs/supervision.md has its messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from fastapi import APIRouter, Depends, HTTPException, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field

from voki_bots.bots.desk import SIDES, Chair, Desk
from voki_bots.bots.session import CallSession
from voki_bots.calls import HintGiven, Role, Supervision
from voki_bots.errors import MediaError, SupervisionError, VokiError
from voki_bots.media.live import Live
from voki_bots.service.access import Access, Principal, Rank
from voki_bots.service.delivery import CALL, message_of
from voki_bots.service.headset import Headset, play

LOOK = 0.05
"""Seconds between two looks at what has changed."""

METER = 0.2
"""Seconds between two messages of levels."""

MUTE = 5.0
"""Seconds without a sound from the microphone after which a pressed key is taken for stuck."""

LONGEST = 32_768
"""Bytes of a message to us: a session description, or a second of PCM."""

ACTS = {Supervision.WHISPER: "whispered", Supervision.BARGE: "barged"}

_log = structlog.get_logger(__name__)


class HintAsked(BaseModel):
    """Body of a hint."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=500, description="what they are told")
    to: Role = Field(default=Role.ATTENDANT, description="on whose screens it is shown")


class Desks:
    """The desks of all bots, and the routes that lead to them.

    Args:
        desks: By bot.
        running: Gives the calls that are attended now, one entry for each bot in each.
        access: Who may supervise.
        clock: Seconds of the event loop.
        loopback: Whether browsers may be on this machine.
    """

    def __init__(
        self,
        desks: Sequence[tuple[str, Desk]],
        running: Callable[[], Sequence[CallSession]],
        access: Access,
        *,
        clock: Callable[[], float],
        loopback: bool,
    ) -> None:
        self._desks = desks
        self._running = running
        self._access = access
        self._clock = clock
        self._loopback = loopback

    def of(self, key: tuple[str, str]) -> dict[str, Any]:
        """Whether a call can be supervised, and who does so now."""
        seated = [each for _, desk in self._desks for each in desk.seated(key)]
        return {
            "supervisable": any(desk.attends(key) for _, desk in self._desks),
            "supervision": [
                {"by": each.by, "mode": each.mode, "state": each.state, "talking": each.talking}
                for each in seated
            ],
        }

    def routes(self) -> APIRouter:
        """Make the routes."""
        router = APIRouter(tags=["supervision"])

        @router.post(CALL + "/hint")
        async def hint(
            tenant: str, call: str, asked: HintAsked, who: Principal = Depends(self._access.supervisor)
        ) -> dict[str, bool]:
            """Show a text to somebody, outside the call: it never enters the call's channel."""
            session = next((each for each in self._running() if each.call.key == (tenant, call)), None)
            if session is None:
                raise HTTPException(404, "no bot attends this call now")
            self._access.audit(who, "hinted", tenant, call)
            session.publish(HintGiven(asked.text, asked.to, f"api:{who.name}"))
            return {"given": True}

        @router.websocket(CALL + "/supervise")
        async def supervise(socket: WebSocket, tenant: str, call: str) -> None:
            """Listen to a call, whisper and barge; see docs/supervision.md."""
            who = await self._access.of_socket(socket, tenant, Rank.SUPERVISOR)
            if who is not None:
                with suppress(WebSocketDisconnect, RuntimeError):  # the page is gone
                    try:
                        await self._serve(socket, (tenant, call), who)
                    except SupervisionError as error:  # the call ended just now
                        await socket.send_json({"type": "error", "why": error.why, "message": str(error)})
                        await socket.close(1000)

        return router

    async def _serve(self, socket: WebSocket, key: tuple[str, str], who: Principal) -> None:
        found = next(((bot, desk) for bot, desk in self._desks if desk.attends(key)), None)
        sessions = (
            each for each in self._running() if found and (each.bot, each.call.key) == (found[0], key)
        )
        session = next(sessions, None)
        if found is None or session is None:
            why = "no bot with the plugin supervisor attends this call now"
            await socket.send_json({"type": "error", "why": "not_supervisable", "message": why})
            await socket.close(1000)
            return

        def told(act: str, **facts: Any) -> None:
            self._access.audit(who, act, *key, **facts)

        headset = Headset(self._clock, loopback=self._loopback)
        async with headset, found[1].sit(key, who.name) as chair:
            await _Sitting(socket, chair, headset, session, told, self._clock, who.name).run()


class _Sitting:
    """One person at the desk, and what goes to and fro."""

    def __init__(
        self,
        socket: WebSocket,
        chair: Chair,
        headset: Headset,
        session: CallSession,
        told: Callable[..., None],
        clock: Callable[[], float],
        name: str,
    ) -> None:
        self._socket = socket
        self._chair = chair
        self._headset = headset
        self._session = session
        self._told = told
        self._clock = clock
        self._name = name
        self._work: set[asyncio.Task[None]] = set()
        self._sending = asyncio.Lock()
        self._playing: asyncio.Task[None] | None = None
        self._pressed_at = 0.0

    async def run(self) -> None:
        """Serve until the page, or the call, is gone."""
        await self._send(
            type="hello",
            name=self._name,
            modes=[str(mode) for mode in self._chair.modes],
            sides=[side for side in SIDES if side != "all"],
            voice=self._chair.voice,
            webrtc=True,
        )
        ends = [
            asyncio.create_task(work)
            for work in (self._hear(), self._watch(), self._measure(), self._chair.over.wait())
        ]
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._chair.over.is_set():
                await self._send(type="end", why="the call ended")
                await self._socket.close(1000)
            for task in done:
                task.result()
        finally:
            left = [*ends, *self._work, *([self._playing] if self._playing else [])]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _send(self, **said: Any) -> None:
        async with self._sending:
            await self._socket.send_json(said)

    async def _send_audio(self, pcm: bytes) -> None:
        async with self._sending:
            await self._socket.send_bytes(pcm)

    async def _fail(self, why: str, message: str) -> None:
        await self._send(type="error", why=why, message=message)

    # ------------------------------------------------------------ what comes

    async def _hear(self) -> None:
        while True:
            came = await self._socket.receive()
            if came["type"] == "websocket.disconnect":
                return
            if (pcm := came.get("bytes")) is not None:
                if len(pcm) <= LONGEST:
                    self._headset.say(pcm)
                continue
            try:
                said = message_of(came.get("text") or "", LONGEST)
                await self._take(said)
            except ValueError as error:
                await self._fail("bad_message", str(error))

    async def _take(self, said: Mapping[str, Any]) -> None:
        match said:
            case {"listen": str(side)}:
                self._start(self._listen(side))
            case {"offer": str(offer)}:
                self._start(self._answer(offer))
            case {"talk": None}:
                self._release()
            case {"talk": "whisper" | "barge" as mode}:
                self._press(Supervision(mode))
            case {"say": {"mode": "whisper" | "barge" as mode, "text": str(text)}}:
                self._start(self._say(Supervision(mode), text))
            case {"token": str()}:
                pass  # it was shown in the header already
            case _:
                raise ValueError("expected one of listen, offer, talk, say; see docs/supervision.md")

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(self._tried(work))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _tried(self, work: Any) -> None:
        """Do something, and say what came of it."""
        try:
            await work
        except SupervisionError as error:
            self._told("refused", mode=error.mode, why=error.why)
            await self._fail(error.why, str(error))
        except MediaError as error:
            await self._fail("media", str(error))
        except VokiError as error:  # the account is refused, or the profile proves nothing here
            _log.warning("supervision_failed", by=self._name, why=str(error))
            await self._fail("failed", str(error))

    async def _listen(self, side: str) -> None:
        if side != "none":
            self._told("listened", side=side)
        await self._chair.listen(
            "all" if side == "none" else side, None if side == "none" else self._headset.mix
        )
        self._headset.listening = side != "none"
        if self._playing is None:
            self._playing = asyncio.create_task(play(self._headset, self._clock, self._send_audio))
        await self._send(type="listening", side=side)

    async def _answer(self, offer: str) -> None:
        await self._send(type="answer", sdp=await self._headset.answer(offer))

    def _press(self, mode: Supervision) -> None:
        self._release()
        self._pressed_at = self._clock()
        live = self._headset.live = Live(self._name)
        self._start(self._talk(mode, live))

    def _release(self) -> None:
        """The key is not pressed any more; its voice still takes what comes in its tail."""
        if self._headset.live is not None:
            self._headset.live.release()

    async def _talk(self, mode: Supervision, live: Live) -> None:
        self._told(ACTS[mode], by_voice=True)
        try:
            await self._chair.speak(mode, live)
        finally:
            live.release()
            if self._headset.live is live:
                self._headset.live = None

    async def _say(self, mode: Supervision, text: str) -> None:
        self._told(ACTS[mode], by_voice=False)
        await self._send(type="said", seconds=round(await self._chair.say(mode, text), 3))

    # ------------------------------------------------------------ what goes

    async def _watch(self) -> None:
        """Tell of every change, and let go of a key that is stuck."""
        last = None
        while True:
            if (seen := self._chair.seen()) != last:
                last = seen
                await self._send(
                    type="state",
                    mode=seen.mode,
                    state=seen.state,
                    talking=seen.talking,
                    why=seen.why,
                    sentence=seen.sentence,
                )
            live, now = self._headset.live, self._clock()
            if seen.state != "open":  # until somebody can be heard, nobody need say anything
                self._pressed_at = now
            silent = now - max(self._headset.heard_at, self._pressed_at) > MUTE
            if live is not None and not live.released and silent:
                live.release()
                await self._fail("no_microphone", f"nothing came from the microphone for {MUTE:g} s")
            await asyncio.sleep(LOOK)

    async def _measure(self) -> None:
        while True:
            heard: dict[str, float] = {}
            for track, level in self._headset.mix.levels().items():
                role = str(self._session.roster.who(track).role)
                heard[role] = max(heard.get(role, level), level)
            mic = self._headset.level
            levels = {role: round(level, 1) for role, level in heard.items()}
            await self._send(type="levels", tracks=levels, mic=None if mic is None else round(mic, 1))
            await asyncio.sleep(METER)
