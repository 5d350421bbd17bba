"""What Voki's four topics do: the documented events, and nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .accounts import Identity
from .phoenix import Behaviour, Refusal, Reply, Stop
from .script import SUPERVISION

if TYPE_CHECKING:
    from .platform import Platform


def route(platform: Platform, topic: str, identity: Identity) -> Behaviour[Identity] | None:
    """Return the behaviour for `topic`, or None if Voki has no such topic."""
    kind, _, name = topic.partition(":")
    if not name:
        return None
    match kind:
        case "call":
            return CallTopic(platform, name, identity)
        case "queue":
            return QueueTopic(platform, name, identity)
        case "presence":
            return PresenceTopic(platform, name, identity)
        case "notification":
            return NotificationTopic(platform, name, identity)
        case _:
            return None


class _Topic(Behaviour[Identity]):
    def __init__(self, platform: Platform, name: str, identity: Identity) -> None:
        self.platform = platform
        self.name = name
        self.identity = identity
        self.user = identity.user


class CallTopic(_Topic):
    """``call:{call_id}``: signalling with the SFU.

    Attributes:
        wanted: The mode of supervision that a join asked for, where that is the way.
    """

    wanted: object = None

    async def join(self, params: object) -> object:
        """Let this user in, or not."""
        room = self.platform.rooms.get(self.name)
        if room is None:
            raise Refusal(reason="not_found")
        if room.join_delay > 0:
            await asyncio.sleep(room.join_delay)
        if room.refuse is not None:
            raise Refusal(reason=room.refuse)
        outsider = self.user.role == "customer" and self.user.call_id != self.name
        waiting = room.record.status == "queued" and self.user.role != "customer"
        if room.record.over or outsider or (waiting and not room.switches.join_while_queued):
            raise Refusal(reason="unauthorized")
        if room.switches.supervise_by_join and isinstance(params, dict):
            self.wanted = params.get("supervise")
        if room.switches.snapshot:
            return {"participants": [room.described(m.user) for m in room.members.values()]}
        return {"call_id": self.name} if room.switches.reply_bodies else {}

    async def joined(self) -> None:
        """Say what is to be said first."""
        room = self.platform.rooms[self.name]
        room.enter(self.user, self.channel.push, self.channel, bot=True)
        if self.wanted is not None:
            self._supervise(self.wanted)

    async def handle(self, event: str, payload: object) -> Reply | Stop | None:
        """Take a documented event; anything else crashes the channel, as in Phoenix."""
        room = self.platform.rooms[self.name]
        if not isinstance(payload, dict):
            raise TypeError("no clause for this payload")
        match event:
            case "signal":
                await room.signal(self.user.user_id, payload)
            case "ice_candidate":
                await room.candidate(self.user.user_id, payload)
            case "mute":
                room.mute(self.user.user_id, payload)
            case "supervise" if room.switches.supervise_by_push:
                if not self._supervise(payload.get("mode")):
                    return Reply("error", {"reason": "not_permitted"})
            case _:
                raise LookupError(f"no clause for {event!r}")
        if room.switches.silent_pushes:
            return None
        return Reply("ok", {"event": event} if room.switches.reply_bodies else {})

    def _supervise(self, mode: object) -> bool:
        """Take a mode of supervision, if this user may."""
        if self.user.role not in ("supervisor", "manager") or mode not in SUPERVISION:
            return False
        self.platform.supervise(self.platform.rooms[self.name], str(mode), self.user)
        return True

    def ended(self, why: str) -> None:
        """Take this user out, or wait for his return."""
        room = self.platform.rooms[self.name]
        if why == "left":
            room.leave(self.user.user_id, self.channel)
            if self.user.role == "customer" and room.record.status == "queued":
                self.platform.end(room, "cancelled")
        elif why != "replaced":
            room.lost(self.user.user_id, self.channel)


class QueueTopic(_Topic):
    """``queue:{department_id}``: what happens in a department's queue; clients say nothing."""

    async def join(self, params: object) -> object:
        """Let this user in, or not."""
        if self.name not in self.platform.departments:
            raise Refusal(reason="not_found")
        if self.user.role == "customer":
            raise Refusal(reason="unauthorized")
        return {}


class PresenceTopic(_Topic):
    """``presence:{department_id}``: Phoenix Presence; whoever joins counts as an agent online."""

    async def join(self, params: object) -> object:
        """Let this user in, or not."""
        if self.name not in self.platform.departments or self.user.role == "customer":
            raise Refusal(reason="unauthorized")
        return {}

    async def joined(self) -> None:
        """Say what is to be said first."""
        presences = self.platform.presences
        status, call_id = self.platform.status_of(self.user.user_id)
        meta = {"name": self.user.name, "status": status, "current_call_id": call_id}
        presences.track(self, self.channel.topic, self.user.user_id, meta)
        await asyncio.sleep(0)  # the joiner's own diff comes first
        self.channel.push("presence_state", presences.state(self.channel.topic))

    def ended(self, why: str) -> None:
        """Take this user out."""
        self.platform.presences.untrack(self, self.channel.topic)


class NotificationTopic(_Topic):
    """``notification:{user_id}``: for that user alone."""

    async def join(self, params: object) -> object:
        """Let this user in, or not."""
        if self.name != self.user.user_id:
            raise Refusal(reason="unauthorized")
        return {}
