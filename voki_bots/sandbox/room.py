"""One call: who is in it, who hears whom, and what is announced."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from .accounts import Accounts, User
from .mixing import Mixture
from .options import SandboxOptions, Switches
from .people import Person
from .script import PersonScript
from .sfu import Leg, Say
from .streams import Picture, Publisher, picture_key
from .tasks import Tasks

_log = structlog.get_logger(__name__)

_LAST_WORDS = 0.2  # seconds between call_ended and the end of media


def _unheard(_event: str, _payload: dict[str, Any]) -> None:
    """Take what is said to somebody whose channel is gone."""


@dataclass(slots=True)
class Member:
    """Somebody in the call: a bot, or a scripted person."""

    user: User
    bot: bool
    say: Say
    token: object
    joined_at: float
    leg: Leg | None = None
    muted: dict[str, bool] = field(default_factory=dict)
    connected_at: float | None = None
    grace: asyncio.TimerHandle | None = None
    mixture: Mixture | None = None
    signals: list[tuple[float, str]] = field(default_factory=list)

    @property
    def user_id(self) -> str:
        """Who it is."""
        return self.user.user_id

    @property
    def key(self) -> str:
        """What this voice is told by."""
        return self.user_id

    @property
    def codec(self) -> str:
        """Voices are Opus."""
        return "opus"

    def wants_key(self) -> None:
        """Sound has no key frames."""

    def picture(self) -> Picture | None:
        """What this member's camera shows, if it does."""
        leg = self.leg
        if leg is None or leg.showing is None:
            return None
        return Picture(self.user_id, leg.showing, leg.ask_for_key_frame)


@dataclass(slots=True)
class CallRecord:
    """What REST says of a call. `assigned` is ours: REST still says ``queued`` until the call starts."""

    call_id: str
    department_id: str
    department_name: str
    status: str
    inserted_at: float
    customer_name: str = ""
    customer_email: str | None = None
    user_id: str | None = None
    user_name: str | None = None
    started_at: float | None = None
    completed_at: float | None = None

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self.status in ("completed", "missed", "cancelled")


class Room:
    """The live side of one call.

    Args:
        record: The call.
        announce: Sends an event to the call's topic: (event, payload, token of a channel to leave out).
        options: The sandbox's options.
        switches: This call's switches.
    """

    def __init__(
        self,
        record: CallRecord,
        *,
        announce: Callable[[str, dict[str, Any], object], None],
        accounts: Accounts,
        options: SandboxOptions,
        switches: Switches,
        addresses: Sequence[str],
        wall: Callable[[], float],
        tasks: Tasks,
        choose: random.Random,
    ) -> None:
        self.record = record
        self.switches = switches
        self.members: dict[str, Member] = {}
        self.past: list[Member] = []
        self.people: dict[str, Person] = {}
        self.modes: dict[str, str] = {}
        self.refuse: str | None = None
        self.join_delay = switches.join_delay
        self.bot_connected = asyncio.Event()
        self._announce = announce
        self._accounts = accounts
        self._options = options
        self._addresses = addresses
        self._wall = wall
        self._tasks = tasks
        self._choose = choose
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self._doorway = asyncio.Lock()
        self._companions: list[asyncio.Task[Any]] = []

    @property
    def server_offers(self) -> bool:
        """Whether the SFU offers first in this call."""
        return self.switches.server_offers

    # ------------------------------------------------------------ coming and going

    def described(self, user: User) -> dict[str, Any]:
        """Describe a participant as the ``participant_joined`` event does."""
        hidden = user.role == "customer" and self.switches.anonymous_customers
        return {"user_id": None if hidden else user.user_id, "name": user.name, "role": user.role}

    def enter(self, user: User, say: Say, token: object, *, bot: bool = False) -> None:
        """Let somebody in, or back in: a leg that is still there is kept."""
        member = self.members.get(user.user_id)
        if member is None:
            member = Member(user, bot, say, token, self._wall())
            self.members[user.user_id] = member
        else:
            member.say, member.token = say, token
            if member.grace is not None:
                member.grace.cancel()
                member.grace = None
        without = None if self.switches.announce_self else token
        if self.switches.mode_lost:
            self.modes.pop(user.user_id, None)
        self._announce("participant_joined", self.described(user), without)
        if self.server_offers and (member.leg is None or member.leg.dead):
            self._tasks.start(self._leg(member).start(), f"offer to {user.name}")

    def leave(self, user_id: str, token: object) -> None:
        """Let somebody go who says so."""
        member = self.members.get(user_id)
        if member is not None and member.token is token:
            self._remove(member)

    def lost(self, user_id: str, token: object) -> None:
        """Note that somebody's channel is gone without a word; the leg lives on for a while."""
        member = self.members.get(user_id)
        if member is None or member.token is not token:
            return
        member.say, member.token = _unheard, None
        member.grace = self._loop.call_later(self._options.leg_grace, self._remove, member)

    def _remove(self, member: Member) -> None:
        if self.members.get(member.user_id) is not member:
            return
        del self.members[member.user_id]
        self.past.append(member)
        if member.grace is not None:
            member.grace.cancel()
        if not self.record.over:
            self._announce(
                "participant_left", {"user_id": self.described(member.user)["user_id"]}, member.token
            )
        if member.mixture is not None:
            member.mixture.stop()
        if member.leg is not None:
            self._tasks.start(member.leg.close(), f"end of {member.user.name}")
        self._sync_all()

    # ------------------------------------------------------------ negotiation

    async def signal(self, user_id: str, payload: dict[str, Any]) -> None:
        """Take an offer or an answer.

        Raises:
            KeyError: A key is missing, or the sender is not in the call.
            ValueError: It is neither, or it cannot be used. Either way the channel crashes.
        """
        member = self.members[user_id]
        kind, sdp = payload["type"], payload["sdp"]
        member.signals.append((self._wall(), str(kind)))
        if self.record.over:
            return
        if kind == "offer":
            await self._leg(member).offer(sdp)
        elif kind == "answer":
            await self._leg(member).answer(sdp)
        else:
            raise ValueError(f"a signal is an offer or an answer, not {kind!r}")

    async def candidate(self, user_id: str, payload: dict[str, Any]) -> None:
        """Take a candidate; see `Leg.candidate` for what crashes."""
        await self._leg(self.members[user_id]).candidate(payload)

    def mute(self, user_id: str, payload: dict[str, Any]) -> None:
        """Note what somebody says about his own sending; the SFU does not act on it."""
        self.members[user_id].muted[str(payload["type"])] = bool(payload["muted"])

    def _leg(self, member: Member) -> Leg:
        if member.leg is None:
            member.leg = Leg(
                name=member.user.name,
                say=lambda event, payload: member.say(event, payload),
                audible=lambda: self.audible(member),
                published=self._sync_all,
                forward=lambda *packet: self._forward(member, *packet),
                connected=lambda: self._connected(member),
                switches=self.switches,
                addresses=self._addresses,
                wall=self._wall,
                tasks=self._tasks,
                choose=self._choose,
                bot=member.bot,
            )
        return member.leg

    def _connected(self, member: Member) -> None:
        member.connected_at = self._wall()
        if member.bot:
            self.bot_connected.set()

    # ------------------------------------------------------------ routing

    def audible(self, listener: Member) -> list[Publisher]:
        """Whom `listener` hears, and sees: everybody who publishes, in the order of their coming."""
        publishing = [
            m for m in self.members.values() if self.hears(listener, m) and m.leg and m.leg.publishing
        ]
        if not (self.switches.mixed_only and listener.bot and publishing):
            return [*publishing, *(picture for m in publishing if (picture := m.picture()) is not None)]
        if listener.mixture is None:
            listener.mixture = Mixture(self._tasks)
        listener.mixture.start(lambda packet: self._leg(listener).write(Mixture.user_id, packet, None))
        return [listener.mixture]

    def hears(self, listener: Member, source: Member) -> bool:
        """Whether somebody hears another: who monitors is heard by nobody, who whispers by attendants."""
        if listener is source:
            return False
        match self.modes.get(source.user_id):
            case "monitor":
                return False
            case "whisper":
                leaks = self.switches.whisper_leaks and listener.user.role == "customer"
                return listener.user.role == "attendant" or leaks
            case _:
                return True

    def supervise(self, user_id: str, mode: str) -> None:
        """Let a supervisor's voice go where a mode says, from now on."""
        self.modes[user_id] = mode
        self._sync_all()

    async def _forward(self, source: Member, packet: Any, kind: str, anchor: tuple[int, int] | None) -> None:
        key = source.user_id if kind == "audio" else picture_key(source.user_id)
        for member in list(self.members.values()):
            if not self.hears(member, source):
                continue
            if member.mixture is not None:
                if kind == "audio":
                    member.mixture.feed(source.user_id, packet)
            elif member.leg is not None:
                await member.leg.write(key, packet, anchor)

    def _sync_all(self) -> None:
        for member in self.members.values():
            if member.leg is not None:
                member.leg.sync()

    # ------------------------------------------------------------ people

    def invite(self, script: PersonScript) -> Person:
        """Make a person, who joins when the script says.

        Raises:
            ConfigurationError: What he shall say does not exist.
        """
        user = self._accounts.add(script.name, script.role, call_id=self.record.call_id)
        person = Person(
            script,
            user,
            self,
            speaker=len(self.people),
            addresses=self._addresses,
            wall=self._wall,
            tasks=self._tasks,
            choose=self._choose,
        )
        self.people[person.id] = person
        self._companions.append(self._tasks.start(self._accompany(person), f"person {user.name}"))
        return person

    async def _accompany(self, person: Person) -> None:
        try:
            await self._moment(person.script.joins)
            if self.switches.together:
                await person.join()
            else:
                async with self._doorway:
                    if person.leaving.is_set():
                        return
                    await person.join()
                    await asyncio.sleep(self._options.join_spacing)
            await person.attend()
        finally:
            await person.leave()

    async def _moment(self, joins: str | float) -> None:
        if joins == "after_bot":
            await self.bot_connected.wait()
        elif isinstance(joins, float):
            await asyncio.sleep(max(0.0, self._begun + joins - self._loop.time()))

    # ------------------------------------------------------------ the end

    def end(self, reason: str) -> None:
        """End the call: announce it, then end all media."""
        if self.record.over:
            return
        self.record.status = reason if reason in ("missed", "cancelled") else "completed"
        self.record.completed_at = self._wall()
        self._announce("call_ended", {"reason": reason}, None)
        for member in self.members.values():
            if not member.bot:
                member.say("call_ended", {"reason": reason})
        for person in self.people.values():
            person.leaving.set()
        self._tasks.start(self._end_media(), f"end of call {self.record.call_id}")

    async def _end_media(self) -> None:
        await asyncio.sleep(_LAST_WORDS)
        await self.close()

    async def close(self) -> None:
        """End every person and every leg."""
        members = list(self.members.values())
        for companion in self._companions:
            companion.cancel()
        await asyncio.gather(*(p.leave() for p in self.people.values()))
        for member in members:
            if member.grace is not None:
                member.grace.cancel()
            if member.mixture is not None:
                member.mixture.stop()
        await asyncio.gather(*(m.leg.close() for m in members if m.leg is not None))
