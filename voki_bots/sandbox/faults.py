"""What can go wrong on demand, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigurationError
from .platform import Platform
from .room import Member, Room


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that shall go wrong in one call.

    Attributes:
        name: One of `FAULTS`.
        target: ``bots``, ``all``, or the user id of one participant.
        after: Seconds from now.
        settings: What the fault's own text names.
    """

    name: str
    target: str = "bots"
    after: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Fault:
        """Read a fault from the control API.

        Raises:
            ConfigurationError: There is no such fault, or a value is of the wrong type.
        """
        name, after = str(body.get("name")), body.get("after", 0.0)
        if name not in FAULTS:
            raise ConfigurationError(f"no fault is called {name!r}; known: {', '.join(FAULTS)}", path="name")
        if isinstance(after, bool) or not isinstance(after, int | float) or after < 0:
            raise ConfigurationError("after is seconds", path="after")
        settings = {k: v for k, v in body.items() if k not in ("name", "after", "target")}
        known = FAULTS[name].settings
        if unknown := set(settings) - set(known):
            raise ConfigurationError(f"{name} has no setting {min(unknown)!r}", path=min(unknown))
        for key, value in settings.items():
            wanted = known[key]
            if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
                raise ConfigurationError(f"{key} of {name} has the wrong type", path=key)
        return cls(name=name, target=str(body.get("target", "bots")), after=float(after), settings=settings)


@dataclass(frozen=True, slots=True)
class _Kind:
    cause: Callable[[Platform, Room, list[Member], Mapping[str, Any]], None]
    settings: Mapping[str, Any] = field(default_factory=dict)


async def happen(platform: Platform, room: Room, fault: Fault) -> None:
    """Wait for the fault's time, then let it happen."""
    await asyncio.sleep(fault.after)
    members = [
        m
        for m in room.members.values()
        if fault.target in ("all", m.user_id) or (fault.target == "bots" and m.bot)
    ]
    FAULTS[fault.name].cause(platform, room, members, fault.settings)


def _drop_socket(platform: Platform, room: Room, members: list[Member], _: Mapping[str, Any]) -> None:
    for socket in platform.sockets_of({m.user_id for m in members}):
        socket.abort()


def _expire_token(platform: Platform, room: Room, members: list[Member], _: Mapping[str, Any]) -> None:
    platform.expire({m.user_id for m in members})


def _crash_channel(platform: Platform, room: Room, members: list[Member], _: Mapping[str, Any]) -> None:
    user_ids = {m.user_id for m in members}
    for channel in list(platform.hub.subscribers.get(f"call:{room.record.call_id}", ())):
        if channel.socket.user.user.user_id in user_ids:
            channel.crash()


def _kill_ice(platform: Platform, room: Room, members: list[Member], settings: Mapping[str, Any]) -> None:
    for member in members:
        if member.leg is not None:
            member.leg.kill(close=settings.get("close", False))


def _ice_restart(platform: Platform, room: Room, members: list[Member], _: Mapping[str, Any]) -> None:
    for member in members:
        if member.leg is not None:
            platform.tasks.start(member.leg.start(), f"restart of {member.user.name}")


def _reoffer(platform: Platform, room: Room, members: list[Member], _: Mapping[str, Any]) -> None:
    for member in members:
        if member.leg is not None:
            platform.tasks.start(member.leg.reoffer(), f"re-offer to {member.user.name}")


def _glare(platform: Platform, room: Room, members: list[Member], _: Mapping[str, Any]) -> None:
    for member in members:
        if member.leg is not None:
            member.leg.crossing = True


def _hang_up(platform: Platform, room: Room, members: list[Member], _: Mapping[str, Any]) -> None:
    for member in members:
        if member.leg is not None:
            platform.tasks.start(member.leg.hang_up(), f"hanging up on {member.user.name}")


def _ignore_offers(platform: Platform, room: Room, members: list[Member], _: Mapping[str, Any]) -> None:
    for member in members:
        if member.leg is not None:
            member.leg.deafened = True


def _freeze_media(platform: Platform, room: Room, members: list[Member], settings: Mapping[str, Any]) -> None:
    for member in members:
        if member.leg is not None:
            _freeze(member.leg, settings.get("seconds"))


def _freeze(leg: Any, seconds: float | None) -> None:
    leg.frozen = True
    if seconds is not None:
        asyncio.get_running_loop().call_later(seconds, setattr, leg, "frozen", False)


def _mute_media(platform: Platform, room: Room, members: list[Member], settings: Mapping[str, Any]) -> None:
    for member in members:
        if (person := room.people.get(member.user_id)) is not None:
            person.muted = settings.get("muted", True)


def _refuse_join(platform: Platform, room: Room, members: list[Member], settings: Mapping[str, Any]) -> None:
    room.refuse = None if settings.get("on") is False else settings.get("reason", "unauthorized")


def _slow_join(platform: Platform, room: Room, members: list[Member], settings: Mapping[str, Any]) -> None:
    room.join_delay = float(settings.get("seconds", 2.0))


def _lose(platform: Platform, room: Room, members: list[Member], settings: Mapping[str, Any]) -> None:
    for member in members:
        if member.leg is not None:
            member.leg.lose = float(settings.get("p", 0.05))


def _hold(platform: Platform, room: Room, members: list[Member], settings: Mapping[str, Any]) -> None:
    room.record.status = "active" if settings.get("on") is False else "on_hold"


FAULTS: Mapping[str, _Kind] = {
    "drop_socket": _Kind(_drop_socket),
    "expire_token": _Kind(_expire_token),
    "crash_channel": _Kind(_crash_channel),
    "kill_ice": _Kind(_kill_ice, {"close": bool}),
    "ice_restart": _Kind(_ice_restart),
    "reoffer": _Kind(_reoffer),
    "glare": _Kind(_glare),
    "hang_up": _Kind(_hang_up),
    "ignore_offers": _Kind(_ignore_offers),
    "freeze_media": _Kind(_freeze_media, {"seconds": (int, float)}),
    "mute": _Kind(_mute_media, {"muted": bool}),
    "refuse_join": _Kind(_refuse_join, {"reason": str, "on": bool}),
    "slow_join": _Kind(_slow_join, {"seconds": (int, float)}),
    "lose": _Kind(_lose, {"p": (int, float)}),
    "hold": _Kind(_hold, {"on": bool}),
}
"""By name, what happens to the targets.

``drop_socket``: the connection is cut (1006). ``expire_token``: every token issued so far is refused, and the
sockets are closed as at ``exp``. ``crash_channel``: ``phx_error``, and the topic is no longer joined.
``kill_ice``: the SFU's end of the connection falls silent; with ``close``, its sockets close too.
``ice_restart``: the SFU offers anew with other ICE credentials, and the old path is closed.
``reoffer``: the SFU offers anew, though nothing has changed. ``glare``: the SFU's next offer waits for one of
the member's, which it crosses and which is ignored. ``hang_up``: it closes the connection (DTLS).
``ignore_offers``: it answers no offer of this member's any more, until the member has left and joined again.
``freeze_media``: nothing is forwarded, for ``seconds`` if given. ``mute``: a person sends nothing.
``refuse_join``: joins are refused with ``reason`` until ``on`` is false. ``slow_join``: joins take
``seconds``. ``lose``: a share ``p`` of the forwarded packets never arrives. ``hold``: the call's details say
``on_hold`` until ``on`` is false, which no document of Voki's knows.
"""
