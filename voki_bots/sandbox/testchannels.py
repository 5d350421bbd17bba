"""The topics of the conformance application: each event makes a channel do one thing that channels can do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .phoenix import Behaviour, Refusal, Reply, Stop

if TYPE_CHECKING:
    from .conformance import Conformance

Answer = Reply | Stop | None

_OK = Reply("ok", {})
_CRASHES = ("crash", "exit_shutdown", "stop_error")
_ENDS = ("stop_normal", "stop_shutdown", "end_call", "disconnect_me", "kill_transport", "drain")
_TRIES = 3  # the join of call:flaky:… that is accepted
_MOST = 10_000  # pushes that one event may cause


def route(application: Conformance, topic: str, user_id: str) -> Behaviour[str] | None:
    """Return the behaviour for `topic`, or None if there is no such topic."""
    kind, colon, name = topic.partition(":")
    kinds: dict[str, Callable[[Conformance, str, str], Behaviour[str]]] = {
        "call": CallTest,
        "queue": QueueTest,
        "presence": PresenceTest,
        "notification": NotificationTest,
    }
    return kinds[kind](application, name, user_id) if colon and kind in kinds else None


def _milliseconds(params: object, key: str, default: float = 0) -> float:
    """Read a pause; returns seconds."""
    value = params.get(key, default) if isinstance(params, dict) else default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{key} is milliseconds")
    return min(max(float(value), 0.0), 60_000.0) / 1000


class _Test(Behaviour[str]):
    def __init__(self, application: Conformance, name: str, user_id: str) -> None:
        self.application = application
        self.name = name
        self.user_id = user_id

    def broadcast(self, event: str, payload: object, *, others: bool = False) -> None:
        """Say something to the topic."""
        without = self.channel if others else None
        self.application.hub.broadcast(self.channel.topic, event, payload, without=without)

    def ended(self, why: str) -> None:
        """Take out what was tracked here."""
        self.application.presences.untrack(self, self.channel.topic)


class CallTest(_Test):
    """``call:*``: refusals, replies, pushes, broadcasts, crashes and ends of every kind."""

    async def join(self, params: object) -> object:
        """Let anybody in, but to the topics that are there to be refused."""
        if self.name == "missing":
            raise Refusal(reason="not_found")
        if self.name == "joincrash":
            raise RuntimeError("this join crashes")
        if self.name == "slowjoin":
            await asyncio.sleep(_milliseconds(params, "ms"))
        if self.name.startswith("flaky:"):
            self.application.tries[self.name] += 1
            if self.application.tries[self.name] < _TRIES:
                raise Refusal(reason="try_again")
        return {"call_id": self.name, "params": params, "user_id": self.user_id}

    async def joined(self) -> None:
        """Tell the others, and the joiner something that must come after the join reply."""
        self.broadcast("participant_joined", {"user_id": self.user_id}, others=True)
        self.channel.push("joined_marker", {"call_id": self.name})

    async def handle(self, event: str, payload: object) -> Answer:
        """Take one of the events of this topic; any other crashes the channel."""
        if event in _CRASHES:
            raise RuntimeError(f"{event} was asked for")
        if event in _ENDS:
            return self._end(event, payload)
        match event:
            case "signal" | "ice_candidate":
                self.broadcast(event, payload, others=True)
                return _OK
            case "ok" | "mute":
                return _OK
            case "echo":
                return Reply("ok", payload)
            case "bin_error":
                return Reply("error", payload)
            case "fail":
                return Reply("error", {"reason": "failed", "got": payload})
            case "custom_status":
                return Reply("partial", {"x": 1})
            case "silent":
                return None
            case "slow":
                await asyncio.sleep(_milliseconds(payload, "ms", 500))
                return Reply("ok", payload)
            case "later_reply":
                self._reply_later(_milliseconds(payload, "ms", 100), payload)
                return None
            case "bin_push":
                self.channel.push(event, payload)
                return None
            case "bin_bcast":
                self.broadcast(event, payload)
                return None
        return self._say(event, payload)

    def _say(self, event: str, payload: object) -> Answer:
        if not isinstance(payload, dict):
            raise TypeError("no clause for this payload")
        match event:
            case "push_me":
                self.channel.push(str(payload["event"]), payload.get("payload", {}))
            case "bcast" | "bcast_from":
                said = payload.get("payload", {})
                self.broadcast(str(payload["event"]), said, others=event == "bcast_from")
            case "many":
                for number in range(1, min(int(payload["n"]), _MOST) + 1):
                    self.channel.push("n", {"i": number})
                return Reply("ok", {"n": payload["n"]})
            case "track":
                key = str(payload.get("key", self.user_id))
                self.application.presences.track(self, self.channel.topic, key, payload.get("meta", {}))
            case _:
                raise LookupError(f"no clause for {event!r}")
        return _OK

    def _end(self, event: str, payload: object) -> Answer:
        """End the channel, or the whole socket, in one of the ways there are."""
        socket = self.channel.socket
        match event:
            case "stop_normal":
                return Stop(Reply("ok", {"bye": True}))
            case "stop_shutdown":
                return Stop()
            case "end_call":
                said = payload if isinstance(payload, dict) else {}
                self.broadcast("call_ended", {"reason": "completed", **said})
                return Stop(_OK)
            case "disconnect_me":
                self.application.disconnect(self.user_id)
            case "kill_transport":
                socket.abort()
            case "drain":
                socket.close(1012)
        return None

    def _reply_later(self, pause: float, payload: object) -> None:
        channel, ref = self.channel, self.channel.ref

        async def reply() -> None:
            await asyncio.sleep(pause)
            channel.reply(ref, Reply("ok", payload))

        self.application.tasks.start(reply(), "later reply")


class QueueTest(_Test):
    """``queue:*``: broadcasts, one of them intercepted."""

    intercepts = frozenset({"queue_update"})

    async def join(self, params: object) -> object:
        """Let anybody in, but to ``queue:denied``."""
        if self.name == "denied":
            raise Refusal(reason="denied")
        return {}

    async def handle(self, event: str, payload: object) -> Answer:
        """Say to all what one of them pushed."""
        if event not in ("customer_joined", "customer_left", "call_assigned", "queue_update"):
            raise LookupError(f"no clause for {event!r}")
        self.broadcast(event, payload)
        return _OK

    async def intercept(self, event: str, payload: object) -> None:
        """Tell each subscriber for whom it is."""
        said: dict[str, Any] = dict(payload) if isinstance(payload, dict) else {}
        self.channel.push(event, {**said, "for": self.user_id})


class PresenceTest(_Test):
    """``presence:*``: Phoenix Presence, with metas to add, change and remove at will."""

    async def join(self, params: object) -> object:
        """Let anybody in."""
        self._params = params if isinstance(params, dict) else {}
        return {}

    async def joined(self) -> None:
        """Track the joiner, if he is no mere observer, then push the state."""
        topic = self.channel.topic
        if not self._params.get("observe"):
            status = self._params.get("status", "online")
            meta = {"name": self.user_id, "status": status, "current_call_id": None}
            self.application.presences.track(self, topic, self.user_id, meta)
        # The joiner's own diff comes first, as on an idle real server.
        await asyncio.sleep(_milliseconds(self._params, "state_delay_ms"))
        self.channel.push("presence_state", self.application.presences.state(topic))

    async def handle(self, event: str, payload: object) -> Answer:
        """Change what is tracked, or tell it."""
        presences, topic = self.application.presences, self.channel.topic
        if not isinstance(payload, dict):
            raise TypeError("no clause for this payload")
        match event:
            case "status":
                values = {"status": payload["status"], "current_call_id": payload.get("call_id")}
                presences.update(self, topic, self.user_id, values)
            case "track":
                key = str(payload.get("key", self.user_id))
                presences.track(self, topic, key, payload.get("meta", {}))
            case "untrack":
                presences.untrack(self, topic, str(payload.get("key", self.user_id)))
            case "state":
                self.channel.push("presence_state", presences.state(topic))
            case "list":
                return Reply("ok", presences.state(topic))
            case _:
                raise LookupError(f"no clause for {event!r}")
        return _OK


class NotificationTest(_Test):
    """``notification:<user>``: for that user alone."""

    async def join(self, params: object) -> object:
        """Let the user in whose topic it is."""
        if self.name != self.user_id:
            raise Refusal(reason="forbidden")
        return {}

    async def handle(self, event: str, payload: object) -> Answer:
        """Notify the user of what he pushed."""
        if event != "notify":
            raise LookupError(f"no clause for {event!r}")
        self.broadcast("new_notification", payload)
        return _OK
