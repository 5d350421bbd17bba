"""The platform behind REST and channels: departments, queues, calls, presence."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .accounts import Accounts, Identity, User
from .options import SandboxOptions, Switches
from .phoenix import Behaviour, Hub
from .presence import Presences
from .room import CallRecord, Room
from .tasks import Tasks
from .topics import route
from .turn import TurnAccess


@dataclass(slots=True)
class Department:
    """One department and its queue of call ids; its calls start with the switches that it has of its own."""

    department_id: str
    name: str
    queue: list[str] = field(default_factory=list)
    token: str = ""
    switches: Mapping[str, object] = field(default_factory=dict)


class Platform:
    """One tenant of Voki.

    Args:
        options: The sandbox's options.
        addresses: Where media sockets are bound.
        wall: Unix seconds.
        tasks: What everything runs in.
        choose: Every random choice.
    """

    def __init__(
        self,
        options: SandboxOptions,
        *,
        addresses: Sequence[str],
        wall: Callable[[], float],
        tasks: Tasks,
        choose: random.Random,
    ) -> None:
        self.options = options
        self.accounts = Accounts(
            options.tenant,
            wall=wall,
            choose=choose,
            access_life=options.access_life,
            refresh_life=options.refresh_life,
            rotate=options.rotate_refresh,
        )
        self.turn = TurnAccess(
            options.turn_urls, options.turn_life, options.turn_secret or choose.randbytes(16).hex()
        )
        self.departments: dict[str, Department] = {}
        self.rooms: dict[str, Room] = {}
        self._statuses: dict[str, tuple[str, str | None]] = {}
        self.wall = wall
        self.tasks = tasks
        self.choose = choose
        self._addresses = addresses
        self.hub: Hub[Identity] = Hub(self._route, tasks, options.dialect, options.idle_timeout)
        self.presences = Presences(lambda topic, diff: self.hub.broadcast(topic, "presence_diff", diff))

    def _route(self, topic: str, identity: Identity) -> Behaviour[Identity] | None:
        return route(self, topic, identity)

    # ------------------------------------------------------------ departments and queues

    def add_department(
        self, name: str = "Support", switches: Mapping[str, object] | None = None
    ) -> Department:
        """Make a department with one access link.

        Raises:
            ConfigurationError: A switch does not exist or has the wrong type.
        """
        self.options.switches.changed(switches or {})
        token = self.choose.randbytes(9).hex()
        department = Department(self.accounts.new_id(), name, token=token, switches=dict(switches or {}))
        self.departments[department.department_id] = department
        return department

    def online(self, department_id: str) -> int:
        """Count the agents who are online in a department."""
        return len(self.presences.state(f"presence:{department_id}"))

    def status_of(self, user_id: str) -> tuple[str, str | None]:
        """Return an agent's status (``online``, ``busy``, ``away``) and the call he is in."""
        return self._statuses.get(user_id, ("online", None))

    def set_status(self, user_id: str, status: str, call_id: str | None = None) -> None:
        """Change an agent's status, wherever he is present."""
        self._statuses[user_id] = (status, call_id)
        self.presences.change(user_id, {"status": status, "current_call_id": call_id})

    def _say(self, department: Department, event: str, payload: dict[str, Any]) -> None:
        self.hub.broadcast(f"queue:{department.department_id}", event, payload)

    def _say_queue(self, department: Department) -> None:
        waiting = [self.wall() - self.rooms[c].record.inserted_at for c in department.queue]
        average = round(sum(waiting) / len(waiting)) if waiting else 0
        payload = {
            "queue_size": len(waiting),
            "avg_wait_time": average,
            "online_agents": self.online(department.department_id),
        }
        self._say(department, "queue_update", payload)

    # ------------------------------------------------------------ calls

    def add_call(
        self,
        department: Department,
        *,
        status: str = "queued",
        customer_name: str = "",
        customer_email: str | None = None,
        switches: Mapping[str, object] | None = None,
    ) -> Room:
        """Make a call; one that is queued enters the department's queue.

        Raises:
            ConfigurationError: A switch does not exist or has the wrong type.
        """
        changed: Switches = self.options.switches.changed({**department.switches, **(switches or {})})
        record = CallRecord(
            self.accounts.new_id(),
            department.department_id,
            department.name,
            status,
            self.wall(),
            customer_name,
            customer_email,
        )
        topic = f"call:{record.call_id}"
        room = Room(
            record,
            announce=lambda event, payload, without: self._announce(topic, event, payload, without),
            accounts=self.accounts,
            options=self.options,
            switches=changed,
            addresses=self._addresses,
            wall=self.wall,
            tasks=self.tasks,
            choose=self.choose,
        )
        self.rooms[record.call_id] = room
        if status == "active":
            record.started_at = self.wall()
        if status == "queued":
            self.enqueue(room)
        return room

    def enqueue(self, room: Room) -> None:
        """Put a call into its department's queue."""
        department = self.departments[room.record.department_id]
        department.queue.append(room.record.call_id)
        size = len(department.queue)
        payload = {
            "call_id": room.record.call_id,
            "customer_name": room.record.customer_name,
            "position": size,
            "queue_size": size,
        }
        self._say(department, "customer_joined", payload)
        self._say_queue(department)

    def _dequeue(self, room: Room, reason: str) -> None:
        department = self.departments[room.record.department_id]
        if room.record.call_id in department.queue:
            department.queue.remove(room.record.call_id)
            self._say(department, "customer_left", {"call_id": room.record.call_id, "reason": reason})
            self._say_queue(department)

    def _announce(self, topic: str, event: str, payload: dict[str, Any], without: object) -> None:
        channels = self.hub.subscribers.get(topic, ())
        left_out = next((c for c in channels if c is without), None)
        self.hub.broadcast(topic, event, payload, without=left_out)
        if event == "call_ended":
            room = self.rooms[topic.removeprefix("call:")]
            for channel in list(channels) if room.switches.close_on_end else ():
                channel.stop()

    def assign(self, room: Room, user: User) -> None:
        """Give a call to an attendant: he and the department hear of it."""
        record = room.record
        record.user_id, record.user_name = user.user_id, user.name
        if record.status == "queued":
            record.status = "assigned"
        self._dequeue(room, "assigned")
        department = self.departments[record.department_id]
        payload = {"call_id": record.call_id, "user_id": user.user_id, "user_name": user.name}
        self._say(department, "call_assigned", payload)
        self.notify(
            user.user_id,
            "call_assigned",
            title="New call assigned",
            body=f"{record.customer_name} is waiting in {department.name}",
            data={"call_id": record.call_id},
        )
        self.set_status(user.user_id, "busy", record.call_id)

    def notify(self, user_id: str, kind: str, *, title: str, body: str, data: Mapping[str, Any]) -> None:
        """Send a notification to one user."""
        payload = {"type": kind, "title": title, "body": body, "data": data}
        self.hub.broadcast(f"notification:{user_id}", "new_notification", payload)

    def remind(self, user_id: str, appointment: Mapping[str, Any]) -> None:
        """Remind one user of an appointment."""
        self.hub.broadcast(f"notification:{user_id}", "appointment_reminder", appointment)

    def supervise(self, room: Room, mode: str, supervisor: User) -> None:
        """Let a supervisor listen, whisper or speak (`mode`: monitor, whisper, barge), and tell the call.

        Whoever is in the call is heard from now on by whom the mode says.
        """
        if room.switches.no_start:
            room.supervise(supervisor.user_id, mode)
            return
        if room.switches.wrong_supervisor:
            supervisor, real = self.accounts.add("Somebody Else", "supervisor"), supervisor
            room.supervise(real.user_id, mode)
        room.supervise(supervisor.user_id, mode)
        payload = {"supervisor_id": supervisor.user_id, "supervisor_name": supervisor.name}
        self.hub.broadcast(f"call:{room.record.call_id}", f"{mode}_start", payload)

    def start(self, room: Room) -> None:
        """Note that a call's media is up."""
        self._dequeue(room, "assigned")
        room.record.status = "active"
        if room.record.started_at is None:
            room.record.started_at = self.wall()

    def end(self, room: Room, reason: str) -> None:
        """End a call; one still in the queue counts as missed or cancelled."""
        self._dequeue(room, "cancelled" if reason == "cancelled" else "timeout")
        user_id = room.record.user_id
        if user_id is not None and self.status_of(user_id) == ("busy", room.record.call_id):
            self.set_status(user_id, "online")
        room.end(reason)

    # ------------------------------------------------------------ sockets

    def sockets_of(self, user_ids: set[str]) -> list[Any]:
        """Return the open sockets of these users."""
        return [s for s in self.hub.sockets if s.user.user.user_id in user_ids]

    def expire(self, user_ids: set[str]) -> None:
        """End the tokens of these users, and with them their sockets."""
        for user_id in user_ids:
            self.accounts.expire(user_id)
        for socket in self.sockets_of(user_ids):
            socket.close(self.hub.dialect.disconnect_code)

    async def close(self) -> None:
        """Drain every socket (1012) and end every call."""
        for socket in list(self.hub.sockets):
            socket.close(1012)
        for room in self.rooms.values():
            await room.close()
