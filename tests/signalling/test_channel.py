"""The channels of one socket as a state machine. Numbers in names are rows of the list of behaviours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.errors import (
    ConnectionLostError,
    JoinRefusedError,
    ProtocolError,
    ReplyTimeoutError,
    SignallingError,
)
from voki_bots.signalling.channel import Connection
from voki_bots.signalling.life import MAX_BUFFER
from voki_bots.signalling.membership import (
    Closed,
    Errored,
    Happened,
    HeartbeatMissed,
    Joined,
    Noticed,
    Received,
    Reply,
    Settled,
    State,
    Subscription,
)

TOPIC = "call:1"


class Bench:
    """A Connection, a clock, and the far end by hand."""

    def __init__(self, *, opened: bool = True, **options: Any) -> None:
        self.machine = Connection(**options)
        self.now = 0.0
        self.outcomes: dict[int, Reply | SignallingError] = {}
        self.happened: list[tuple[Subscription, object]] = []
        self.noticed: list[str] = []
        self.missed = 0
        if opened:
            self.open()

    def open(self, version: str = "2.0.0") -> None:
        self.machine.opened(version, self.now)
        self.pump()

    def pump(self) -> None:
        for output in self.machine.events():
            match output:
                case Settled(ticket, outcome):
                    assert ticket not in self.outcomes, "a ticket settles once"
                    self.outcomes[ticket] = outcome
                case Happened(subscription, event):
                    self.happened.append((subscription, event))
                case HeartbeatMissed():
                    self.missed += 1
                case Noticed(text):
                    self.noticed.append(text)

    def sent(self) -> list[list[Any]]:
        frames = []
        for frame in self.machine.outgoing():
            body = json.loads(frame)
            if isinstance(body, dict):
                body = [body.get("join_ref"), body["ref"], body["topic"], body["event"], body["payload"]]
            frames.append(body)
        return frames

    def far(self, join_ref: object, ref: object, topic: str, event: str, payload: object) -> None:
        self.machine.receive(json.dumps([join_ref, ref, topic, event, payload]), self.now)
        self.pump()

    def reply(self, frame: list[Any], status: str = "ok", response: object = None) -> None:
        body = {"status": status, "response": {} if response is None else response}
        self.far(frame[0], frame[1], frame[2], "phx_reply", body)

    def sleep(self, seconds: float) -> None:
        """Let time pass, waking the machine exactly when it asks to be woken."""
        until = self.now + seconds
        while (due := self.machine.next_wake()) <= until:
            self.now = max(self.now, due)
            self.machine.wake(self.now)
            self.pump()
        self.now = until

    def lose(self, reason: str = "gone") -> None:
        self.machine.lost(reason, self.now)
        self.pump()

    def events(self, subscription: Subscription) -> list[object]:
        return [event for whose, event in self.happened if whose is subscription]

    def asked(
        self, topic: str = TOPIC, params: Mapping[str, object] | None = None
    ) -> tuple[Subscription, int]:
        subscription = self.machine.subscribe(topic, lambda: params or {})
        ticket = self.machine.join(subscription, self.now)
        self.pump()
        return subscription, ticket

    def joined(self, topic: str = TOPIC) -> Subscription:
        """A channel that is joined, with nothing left to read."""
        subscription, _ = self.asked(topic)
        self.reply(self.sent()[-1])
        return subscription

    def push(self, subscription: Subscription, event: str = "e", timeout: float | None = None) -> int:
        ticket = self.machine.push(subscription, event, {}, self.now, timeout)
        self.pump()
        return ticket


# ---------------------------------------------------------------- heartbeat


def test_16_heartbeats_come_at_the_interval_after_the_opening() -> None:
    """The first heartbeat is one interval after the socket opened, with null join_ref and payload {}."""
    bench = Bench(heartbeat=20.0)
    bench.sleep(19.9)
    early = bench.sent()
    bench.sleep(0.2)
    assert (early, bench.sent()) == ([], [[None, "1", "phoenix", "heartbeat", {}]])


def test_16_no_heartbeat_while_not_connected() -> None:
    """Without a socket nothing is due."""
    bench = Bench(opened=False)
    assert bench.machine.next_wake() == inf


def test_17_a_missed_heartbeat_errors_the_channels_and_says_so() -> None:
    """Silence for the whole window means a dead connection."""
    bench = Bench(heartbeat=20.0)
    channel = bench.joined()
    bench.sleep(40.0)
    assert (bench.missed, bench.events(channel)[-1]) == (1, Errored("heartbeat_timeout"))


def test_18_a_reply_to_an_older_heartbeat_does_not_count() -> None:
    """Only the reply to the heartbeat that is out keeps the connection."""
    bench = Bench(heartbeat=20.0)
    bench.sleep(20.0)
    (first,) = bench.sent()
    bench.reply(first)
    bench.sleep(20.0)
    bench.reply(first)
    bench.sleep(20.0)
    assert bench.missed == 1


def test_18_a_late_heartbeat_reply_after_a_reconnect_starts_nothing() -> None:
    """What belongs to the last connection is forgotten."""
    bench = Bench(heartbeat=20.0)
    bench.sleep(20.0)
    (first,) = bench.sent()
    bench.lose()
    bench.open()
    bench.reply(first)
    assert (bench.sent(), bench.machine.next_wake()) == ([], 40.0)


def test_19_a_heartbeat_reply_delayed_by_a_slow_join_does_not_kill_the_socket() -> None:
    """The heartbeat's window is longer than a join may take, even if the interval is not."""
    bench = Bench(heartbeat=3.0, timeout=10.0)
    bench.asked()
    bench.sleep(12.9)
    assert bench.missed == 0


def test_20_ping_settles_with_the_reply() -> None:
    """A ping is a heartbeat out of turn."""
    bench = Bench()
    ticket = bench.machine.ping(bench.now)
    bench.reply(bench.sent()[0])
    assert isinstance(bench.outcomes[ticket], Reply)


def test_20_ping_fails_when_not_connected() -> None:
    """Without a socket a ping fails at once."""
    bench = Bench(opened=False)
    ticket = bench.machine.ping(bench.now)
    bench.pump()
    assert isinstance(bench.outcomes[ticket], ConnectionLostError)


# ---------------------------------------------------------------- join


def test_21_a_join_has_equal_refs_and_its_params() -> None:
    """The ref of the join is the join_ref."""
    bench = Bench()
    bench.asked(params={"a": 1})
    assert bench.sent() == [["1", "1", TOPIC, "phx_join", {"a": 1}]]


def test_21_params_are_computed_at_every_join() -> None:
    """A rejoin asks for the params anew."""
    bench = Bench()
    counts = iter(range(9))
    channel = bench.machine.subscribe(TOPIC, lambda: {"n": next(counts)})
    bench.machine.join(channel, bench.now)
    bench.lose()
    bench.open()
    assert bench.sent()[-1][4] == {"n": 1}


def test_22_a_channel_can_be_joined_once() -> None:
    """A second join of the same channel is a mistake of the caller's."""
    bench = Bench()
    channel = bench.joined()
    with pytest.raises(ProtocolError):
        bench.machine.join(channel, bench.now)


def test_23_ok_settles_the_join_with_the_response() -> None:
    """Whoever joins gets the response, whatever JSON it is."""
    bench = Bench()
    channel, ticket = bench.asked()
    bench.reply(bench.sent()[0], response=["x"])
    assert (bench.outcomes[ticket], channel.state) == (Reply("ok", ["x"]), State.JOINED)


def test_23_buffered_pushes_go_out_in_order_after_the_join() -> None:
    """What was pushed while joining follows the join."""
    bench = Bench()
    channel, _ = bench.asked()
    for event in "abc":
        bench.push(channel, event)
    (join,) = bench.sent()
    bench.reply(join)
    assert [frame[3] for frame in bench.sent()] == ["a", "b", "c"]


def test_23_a_join_that_succeeded_does_not_time_out() -> None:
    """Nor is it tried again."""
    bench = Bench(heartbeat=1000.0)
    channel = bench.joined()
    bench.sleep(60.0)
    assert (bench.sent(), channel.state) == ([], State.JOINED)


def test_23_the_back_off_begins_anew_after_a_join() -> None:
    """The next crash is followed after the shortest wait again."""
    bench = Bench(heartbeat=1000.0)
    channel, _ = bench.asked()
    for wait in (1.0, 2.0):
        bench.reply(bench.sent()[0], "error", {"reason": "join crashed"})
        bench.sleep(wait)
    (join,) = bench.sent()
    bench.reply(join)
    bench.far(join[0], join[0], TOPIC, "phx_error", {})
    assert (channel.state, bench.machine.next_wake() - bench.now) == (State.ERRORED, 1.0)


def test_24_nothing_follows_a_refusal() -> None:
    """No timeout, no further try."""
    bench = Bench(heartbeat=1000.0)
    channel, _ = bench.asked()
    bench.reply(bench.sent()[0], "error", {"reason": "forbidden"})
    bench.sleep(60.0)
    assert (bench.sent(), len(bench.events(channel))) == ([], 1)


def test_24_a_refused_join_fails_with_the_reason_and_closes() -> None:
    """A refusal is final, and names the reason."""
    bench = Bench()
    channel, ticket = bench.asked()
    bench.reply(bench.sent()[0], "error", {"reason": "not_found"})
    outcome = bench.outcomes[ticket]
    assert isinstance(outcome, JoinRefusedError)
    assert (outcome.reason, channel.state) == ("not_found", State.CLOSED)


def test_24_a_refused_join_flushes_nothing() -> None:
    """What was buffered for a channel that does not let us in fails."""
    bench = Bench()
    channel, _ = bench.asked()
    ticket = bench.push(channel)
    bench.reply(bench.sent()[0], "error", {"reason": "forbidden"})
    assert (bench.sent(), type(bench.outcomes[ticket])) == ([], ConnectionLostError)


def test_24_a_refusal_without_a_reason_is_told_as_it_came() -> None:
    """A response of another shape becomes the reason, cleaned and cut."""
    bench = Bench()
    _, ticket = bench.asked()
    for _ in range(3):
        bench.reply(bench.sent()[-1], "error", {"code": "x\n" * 300})
        bench.sleep(2.0)
    outcome = bench.outcomes[ticket]
    assert isinstance(outcome, JoinRefusedError) and len(outcome.reason) == 200


def test_25_an_unmatched_topic_with_null_join_ref_settles_the_join() -> None:
    """Replies are matched by ref alone."""
    bench = Bench()
    _, ticket = bench.asked()
    body = {"status": "error", "response": {"reason": "unmatched topic"}}
    bench.far(None, bench.sent()[0][1], TOPIC, "phx_reply", body)
    assert isinstance(bench.outcomes[ticket], JoinRefusedError)


def test_26_a_crashed_join_is_tried_again() -> None:
    """`join crashed` is transient: the waiter waits for the next attempt."""
    bench = Bench()
    _, ticket = bench.asked()
    bench.reply(bench.sent()[0], "error", {"reason": "join crashed"})
    bench.sleep(1.0)
    bench.reply(bench.sent()[0])
    assert bench.outcomes[ticket] == Reply("ok", {})


def test_27_too_many_channels_is_reported_and_the_others_work() -> None:
    """A refused channel does not disturb the socket's others."""
    bench = Bench()
    other = bench.joined("queue:1")
    _, ticket = bench.asked()
    bench.reply(bench.sent()[0], "error", {"reason": "too many channels joined"})
    assert (type(bench.outcomes[ticket]), other.state) == (JoinRefusedError, State.JOINED)


def test_28_a_join_that_times_out_leaves_with_its_own_join_ref() -> None:
    """The server may still be joining us: tell it to leave that join."""
    bench = Bench()
    _, ticket = bench.asked()
    bench.sent()
    bench.sleep(10.0)
    assert bench.sent() == [["1", "2", TOPIC, "phx_leave", {}]]
    assert isinstance(bench.outcomes[ticket], ReplyTimeoutError)


def test_28_the_late_ok_of_a_timed_out_join_is_ignored() -> None:
    """Its join_ref is no longer current."""
    bench = Bench()
    channel, _ = bench.asked()
    (join,) = bench.sent()
    bench.sleep(10.0)
    bench.reply(join)
    assert channel.state is State.ERRORED


def test_28_a_join_that_timed_out_is_tried_again() -> None:
    """After the back-off the channel rejoins with a new join_ref."""
    bench = Bench()
    bench.asked()
    bench.sleep(11.0)
    assert bench.sent()[-1] == ["3", "3", TOPIC, "phx_join", {}]


def test_29_a_join_before_the_socket_opens_is_sent_on_open() -> None:
    """Nothing is lost by joining early."""
    bench = Bench(opened=False)
    bench.asked()
    bench.open()
    assert [frame[3] for frame in bench.sent()] == ["phx_join"]


def test_29_the_timeout_of_a_join_runs_from_the_call() -> None:
    """Waiting for the socket counts, and the error says what was missing."""
    bench = Bench(opened=False)
    _, ticket = bench.asked()
    bench.sleep(10.0)
    assert isinstance(bench.outcomes[ticket], ConnectionLostError)


def test_30_a_second_channel_of_a_topic_closes_the_first() -> None:
    """There is one channel for each topic."""
    bench = Bench()
    first = bench.joined()
    second = bench.joined()
    assert (first.state, second.state) == (State.CLOSED, State.JOINED)


def test_30_the_old_close_after_the_new_reply_does_not_close_the_new() -> None:
    """The server sends phx_close with the old join_ref after its reply to the new join."""
    bench = Bench()
    bench.joined()
    second = bench.joined()
    bench.far("1", "1", TOPIC, "phx_close", {})
    assert second.state is State.JOINED


def test_31_leave_completes_although_a_new_join_swallows_its_reply() -> None:
    """The phx_close of the old join_ref is as good as the reply."""
    bench = Bench()
    first = bench.joined()
    leaving = bench.machine.leave(first, bench.now)
    second, joining = bench.asked()
    bench.reply(bench.sent()[-1])
    bench.far("1", "1", TOPIC, "phx_close", {})
    assert {leaving, joining} <= bench.outcomes.keys() and second.state is State.JOINED


@pytest.mark.parametrize("reason", ["join crashed", "try_again", "whatever"])
def test_32_a_flaky_join_succeeds_at_the_third_try(reason: str) -> None:
    """One join is in flight at a time, the third is taken, and whoever waits gets its response."""
    bench = Bench()
    channel, ticket = bench.asked()
    for pause in (1.0, 2.0):
        (join,) = bench.sent()
        bench.reply(join, "error", {"reason": reason})
        bench.sleep(pause)
    (join,) = bench.sent()
    bench.reply(join)
    assert (channel.state, bench.outcomes[ticket]) == (State.JOINED, Reply("ok", {}))


def test_32_a_join_that_is_refused_every_time_is_refused() -> None:
    """After the third time, whatever the reason."""
    bench = Bench()
    _, ticket = bench.asked()
    for _ in range(3):
        bench.reply(bench.sent()[0], "error", {"reason": "try_again"})
        bench.sleep(2.0)
    assert isinstance(bench.outcomes[ticket], JoinRefusedError) and bench.sent() == []


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize(("join_ref", "delivered"), [(None, True), ("1", True), ("0", False)])
def test_33_messages_are_filtered_by_join_ref(join_ref: str | None, delivered: bool) -> None:
    """Broadcasts and our own are delivered, those of another join are not."""
    bench = Bench()
    channel = bench.joined()
    bench.far(join_ref, None, TOPIC, "e", {"a": 1})
    assert (Received("e", {"a": 1}) in bench.events(channel)) is delivered


def test_34_messages_of_other_topics_are_ignored() -> None:
    """An unknown topic is no error."""
    bench = Bench()
    channel = bench.joined()
    bench.far(None, None, "call:2", "e", {})
    assert bench.events(channel) == [Joined({}, False)]


def test_36_a_broadcast_before_our_own_reply_keeps_its_place() -> None:
    """What happens comes out in the order of its arrival."""
    bench = Bench()
    channel = bench.joined()
    bench.machine.push(channel, "e", {}, bench.now)
    (push,) = bench.sent()
    bench.machine.receive(json.dumps([None, None, TOPIC, "b", {}]), bench.now)
    bench.machine.receive(json.dumps([*push[:3], "phx_reply", {"status": "ok", "response": {}}]), bench.now)
    assert [type(output) for output in bench.machine.events()] == [Happened, Settled]


def test_37_a_message_right_behind_the_join_reply_is_delivered() -> None:
    """Nothing is lost between the reply and whoever waits for it."""
    bench = Bench()
    channel, _ = bench.asked()
    bench.reply(bench.sent()[0])
    bench.far("1", None, TOPIC, "marker", {})
    assert bench.events(channel) == [Joined({}, False), Received("marker", {})]


@pytest.mark.parametrize("data", ["xx", "[1,2]", '{"topic":"phoenix"}', b"\x07"])
def test_40_what_cannot_be_read_is_noticed_and_skipped(data: str | bytes) -> None:
    """One bad message ends nothing."""
    bench = Bench()
    channel = bench.joined()
    bench.machine.receive(data, bench.now)
    bench.pump()
    assert (len(bench.noticed), channel.state) == (1, State.JOINED)


def test_15_what_comes_after_the_loss_of_the_socket_is_ignored() -> None:
    """A late message of the last connection changes nothing."""
    bench = Bench()
    channel, _ = bench.asked()
    (join,) = bench.sent()
    bench.lose()
    bench.reply(join)
    assert channel.state is State.ERRORED


# ---------------------------------------------------------------- push


def test_41_a_push_before_any_join_is_a_mistake() -> None:
    """The caller is told at once."""
    bench = Bench()
    channel = bench.machine.subscribe(TOPIC)
    with pytest.raises(ProtocolError):
        bench.machine.push(channel, "e", {}, bench.now)


def test_42_a_push_while_errored_goes_out_with_the_new_join_ref() -> None:
    """It belongs to the join that carries it."""
    bench = Bench()
    channel = bench.joined()
    bench.lose()
    bench.push(channel)
    bench.open()
    (join,) = bench.sent()
    bench.reply(join)
    assert bench.sent()[0][0] == join[0] != "1"


def test_43_a_push_that_timed_out_in_the_buffer_is_never_sent() -> None:
    """Its timeout runs from the push."""
    bench = Bench(opened=False)
    channel, _ = bench.asked()
    ticket = bench.push(channel, timeout=1.0)
    bench.sleep(2.0)
    bench.open()
    bench.reply(bench.sent()[0])
    assert (bench.sent(), type(bench.outcomes[ticket])) == ([], ReplyTimeoutError)


def test_43_a_send_waits_in_the_buffer_as_long_as_it_takes() -> None:
    """Signals outlive an outage."""
    bench = Bench()
    channel = bench.joined()
    bench.lose()
    bench.machine.send(channel, "signal", {}, bench.now)
    bench.sleep(3600.0)
    bench.open()
    bench.reply(bench.sent()[0])
    assert [frame[3] for frame in bench.sent()] == ["signal"]


def test_the_buffer_is_bounded() -> None:
    """Nobody can fill the memory with what waits for a join."""
    bench = Bench(opened=False)
    channel, _ = bench.asked()
    for _ in range(MAX_BUFFER):
        bench.machine.send(channel, "e", {}, bench.now)
    with pytest.raises(ConnectionLostError):
        bench.machine.send(channel, "e", {}, bench.now)


def test_a_payload_that_is_no_json_is_refused_when_it_is_buffered() -> None:
    """Not later, when nobody could be told."""
    bench = Bench(opened=False)
    channel, _ = bench.asked()
    with pytest.raises(ProtocolError):
        bench.machine.push(channel, "e", {"x": object()}, bench.now)


@pytest.mark.parametrize(("timeout", "waited"), [(None, 10.0), (3.0, 3.0)])
def test_44_the_timeout_is_the_sockets_unless_given(timeout: float | None, waited: float) -> None:
    """Each push may have its own."""
    bench = Bench()
    ticket = bench.push(bench.joined(), timeout=timeout)
    bench.sleep(waited)
    outcome = bench.outcomes[ticket]
    assert isinstance(outcome, ReplyTimeoutError) and outcome.waited == waited


def test_44_no_timeout_after_a_reply() -> None:
    """A ticket settles once (the bench checks that)."""
    bench = Bench()
    ticket = bench.push(bench.joined())
    bench.reply(bench.sent()[0])
    bench.sleep(11.0)
    assert bench.outcomes[ticket] == Reply("ok", {})


@pytest.mark.parametrize("status", ["ok", "error", "partial"])
@pytest.mark.parametrize("response", [{"a": 1}, [1], "x", 0])
def test_45_status_and_response_pass_through(status: str, response: object) -> None:
    """Whatever the platform answers is the caller's to judge."""
    bench = Bench()
    ticket = bench.push(bench.joined())
    bench.reply(bench.sent()[0], status, response)
    assert bench.outcomes[ticket] == Reply(status, response)


def test_45_a_binary_reply_carries_bytes() -> None:
    """The response of a binary reply is what it is."""
    bench = Bench()
    ticket = bench.push(bench.joined())
    ref = bench.sent()[0][1].encode()
    head = bytes([1, 1, len(ref), len(TOPIC), 2])
    bench.machine.receive(head + b"1" + ref + TOPIC.encode() + b"ok" + b"\x00\xff", bench.now)
    bench.pump()
    assert bench.outcomes[ticket] == Reply("ok", b"\x00\xff")


def test_46_a_reply_with_null_join_ref_is_matched() -> None:
    """`unmatched topic` after a crash has no join_ref."""
    bench = Bench()
    ticket = bench.push(bench.joined())
    body = {"status": "error", "response": {"reason": "unmatched topic"}}
    bench.far(None, bench.sent()[0][1], TOPIC, "phx_reply", body)
    assert bench.outcomes[ticket] == Reply("error", {"reason": "unmatched topic"})


@pytest.mark.parametrize("end", ["phx_error", "phx_close", "leave", "lost", "close"])
def test_47_pending_pushes_fail_at_once(end: str) -> None:
    """Nothing sent to a channel that ended is ever answered."""
    bench = Bench()
    channel = bench.joined()
    ticket = bench.push(channel)
    match end:
        case "leave":
            bench.machine.leave(channel, bench.now)
        case "lost":
            bench.machine.lost("gone", bench.now)
        case "close":
            bench.machine.close("closed", bench.now)
        case _:
            bench.far("1", "1", TOPIC, end, {})
    bench.pump()
    assert isinstance(bench.outcomes[ticket], ConnectionLostError)


def test_48_nothing_is_remembered_after_replies_timeouts_and_cancellations() -> None:
    """The pending map empties itself."""
    bench = Bench(heartbeat=1000.0)
    channel = bench.joined()
    replied, _, cancelled = (bench.push(channel, event) for event in "abc")
    bench.reply(bench.sent()[0])
    bench.machine.cancel(cancelled)
    bench.sleep(10.0)
    assert len(bench.machine) == 0 and replied in bench.outcomes


def test_49_a_late_reply_to_a_cancelled_push_is_ignored() -> None:
    """Whoever went away is not settled."""
    bench = Bench()
    ticket = bench.push(bench.joined())
    bench.machine.cancel(ticket)
    bench.reply(bench.sent()[0])
    assert ticket not in bench.outcomes


def test_50_a_second_reply_is_ignored() -> None:
    """The first one counts."""
    bench = Bench()
    ticket = bench.push(bench.joined())
    (push,) = bench.sent()
    bench.reply(push, response=1)
    bench.reply(push, response=2)
    assert bench.outcomes[ticket] == Reply("ok", 1)


def test_51_a_hundred_pushes_answered_out_of_order_get_their_own_replies() -> None:
    """Replies find their pushes by ref."""
    bench = Bench()
    channel = bench.joined()
    tickets = [bench.push(channel) for _ in range(100)]
    for number, frame in reversed(list(enumerate(bench.sent()))):
        bench.reply(frame, response=number)
    assert [bench.outcomes[ticket] for ticket in tickets] == [Reply("ok", n) for n in range(100)]


def test_a_refused_send_is_noticed() -> None:
    """Nobody waits for it, but the log should know."""
    bench = Bench()
    channel = bench.joined()
    bench.machine.send(channel, "signal", {}, bench.now)
    bench.reply(bench.sent()[0], "error", {"reason": "bad sdp"})
    assert bench.noticed == ["'signal' was refused: bad sdp"]


# ---------------------------------------------------------------- errors, rejoin


def test_52_a_crashed_channel_rejoins_after_1_2_5_10_10_seconds() -> None:
    """Each failure of the rejoin makes the next wait longer, to a limit."""
    bench = Bench(heartbeat=1000.0)
    bench.joined()
    bench.far("1", "1", TOPIC, "phx_error", {"reason": "channel_crash"})
    waits = []
    for _ in range(5):
        waits.append(bench.machine.next_wake() - bench.now)
        bench.sleep(waits[-1])
        bench.reply(bench.sent()[0], "error", {"reason": "join crashed"})
    assert waits == [1, 2, 5, 10, 10]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [({}, "channel error"), ({"reason": "channel_crash"}, "channel_crash"), (None, "channel error")],
)
def test_52_an_error_tells_its_reason(payload: object, reason: str) -> None:
    """Older servers send no reason."""
    bench = Bench()
    channel = bench.joined()
    bench.far("1", "1", TOPIC, "phx_error", payload)
    assert bench.events(channel)[-1] == Errored(reason)


def test_52_a_second_error_is_said_and_planned_once() -> None:
    """During the back-off further errors change nothing."""
    bench = Bench()
    channel = bench.joined()
    bench.far("1", "1", TOPIC, "phx_error", {})
    bench.far("1", "1", TOPIC, "phx_error", {})
    bench.sleep(1.0)
    assert (len(bench.events(channel)), len(bench.sent())) == (2, 1)


def test_53_a_lost_socket_errors_joined_and_joining_channels_only() -> None:
    """A channel that leaves is closed by it, a closed one is untouched."""
    bench = Bench()
    joined, leaving, closed = bench.joined("a"), bench.joined("b"), bench.joined("c")
    bench.far("3", "3", "c", "phx_close", {})
    bench.machine.leave(leaving, bench.now)
    joining, _ = bench.asked("d")
    bench.lose()
    states = [channel.state for channel in (joined, joining, leaving, closed)]
    assert states == [State.ERRORED, State.ERRORED, State.CLOSED, State.CLOSED]


def test_54_all_errored_channels_rejoin_at_once_after_a_reconnect() -> None:
    """With fresh join_refs, without a back-off."""
    bench = Bench()
    bench.joined("a")
    bench.joined("b")
    bench.lose()
    bench.open()
    assert [frame[:4] for frame in bench.sent()] == [["3", "3", "a", "phx_join"], ["4", "4", "b", "phx_join"]]


def test_54_a_rejoin_says_again() -> None:
    """The consumer can tell a rejoin from the first join."""
    bench = Bench()
    channel = bench.joined()
    bench.lose()
    bench.open()
    bench.reply(bench.sent()[0], response={"n": 2})
    assert bench.events(channel)[-1] == Joined({"n": 2}, True)


def test_7_a_failed_connect_while_joining_gives_one_join_on_the_next() -> None:
    """Exactly one phx_join per connection, however often connecting failed."""
    bench = Bench(opened=False)
    channel, _ = bench.asked()
    for _ in range(3):
        bench.lose("refused")
    bench.open()
    assert (len(bench.sent()), bench.events(channel)) == (1, [Errored("refused")])


def test_55_an_error_while_leaving_does_not_rejoin() -> None:
    """It completes the leave."""
    bench = Bench()
    channel = bench.joined()
    ticket = bench.machine.leave(channel, bench.now)
    bench.far("1", "1", TOPIC, "phx_error", {})
    assert (channel.state, ticket in bench.outcomes) == (State.CLOSED, True)


def test_55_an_error_of_a_closed_channel_changes_nothing() -> None:
    """It may have been on its way when we were closed."""
    bench = Bench()
    channel = bench.joined()
    bench.far("1", "1", TOPIC, "phx_close", {})
    bench.far("1", "1", TOPIC, "phx_error", {})
    bench.sleep(15.0)
    assert (bench.sent(), channel.state) == ([], State.CLOSED)


@pytest.mark.parametrize("event", ["phx_error", "phx_close"])
@pytest.mark.parametrize("join_ref", ["0", None])
def test_56_a_stale_end_is_ignored(event: str, join_ref: str | None) -> None:
    """An end of an older join, or without any ref while none is in force, is not ours."""
    bench = Bench()
    channel = bench.joined()
    bench.far("1", "1", TOPIC, "phx_error", {})
    bench.far(join_ref, join_ref, TOPIC, event, {})
    assert channel.state is State.ERRORED


def test_57_a_close_by_the_platform_is_final() -> None:
    """No rejoin, not even after a reconnect, and Closed is said once."""
    bench = Bench()
    channel = bench.joined()
    bench.far("1", "1", TOPIC, "phx_close", {})
    bench.lose()
    bench.open()
    bench.sleep(15.0)
    joins = [frame for frame in bench.sent() if frame[3] == "phx_join"]
    assert (joins, bench.events(channel)[1:]) == ([], [Closed("closed by the platform")])


def test_58_a_crash_during_the_join_does_not_leave_the_waiter_hanging() -> None:
    """The join is tried again, and its waiter gets the result."""
    bench = Bench()
    _, ticket = bench.asked()
    (join,) = bench.sent()
    bench.far(join[0], join[1], TOPIC, "phx_error", {})
    bench.sleep(1.0)
    bench.reply(bench.sent()[0])
    assert bench.outcomes[ticket] == Reply("ok", {})


def test_a_rejoin_refused_for_a_known_reason_closes() -> None:
    """The call is over, or no longer for us."""
    bench = Bench()
    channel = bench.joined()
    bench.lose()
    bench.open()
    bench.reply(bench.sent()[0], "error", {"reason": "not_found"})
    assert bench.events(channel)[-1] == Closed("the join was refused: not_found")


def test_a_rejoin_refused_for_an_unknown_reason_is_tried_a_few_times() -> None:
    """The platform may still hold our old connection for alive."""
    bench = Bench(heartbeat=1000.0)
    channel = bench.joined()
    bench.lose()
    bench.open()
    for _ in range(4):
        bench.reply(bench.sent()[0], "error", {"reason": "already here"})
        bench.sleep(10.0)
    assert channel.state is State.CLOSED and len(bench.events(channel)) == 6


# ---------------------------------------------------------------- leave


def test_59_leave_sends_the_current_join_ref_and_closes_on_ok() -> None:
    """Only this channel is removed."""
    bench = Bench()
    other, channel = bench.joined("queue:1"), bench.joined()
    bench.machine.leave(channel, bench.now)
    (leave,) = bench.sent()
    bench.reply(leave)
    assert (leave[0], leave[3]) == ("2", "phx_leave")
    assert (channel.state, other.state) == (State.CLOSED, State.JOINED)


@pytest.mark.parametrize("opened", [True, False])
def test_60_leaving_what_was_never_joined_closes_at_once(opened: bool) -> None:
    """Nothing is sent, now or later."""
    bench = Bench(opened=opened)
    channel = bench.machine.subscribe(TOPIC)
    bench.machine.leave(channel, bench.now)
    bench.open()
    assert (channel.state, bench.sent()) == (State.CLOSED, [])


def test_60_leaving_while_the_join_is_out_tells_the_server() -> None:
    """Or it would keep us in the call."""
    bench = Bench()
    channel, ticket = bench.asked()
    (join,) = bench.sent()
    bench.machine.leave(channel, bench.now)
    bench.reply(join)
    assert bench.sent() == [["1", "2", TOPIC, "phx_leave", {}]]
    assert isinstance(bench.outcomes[ticket], ConnectionLostError)


def test_61_leave_completes_by_timeout() -> None:
    """A server that never answers holds nobody up for longer."""
    bench = Bench()
    channel = bench.joined()
    ticket = bench.machine.leave(channel, bench.now)
    bench.sleep(10.0)
    assert bench.outcomes[ticket] == Reply("ok", None)


def test_62_closed_is_said_once() -> None:
    """Though both the reply and phx_close arrive."""
    bench = Bench()
    channel = bench.joined()
    bench.machine.leave(channel, bench.now)
    bench.reply(bench.sent()[0])
    bench.far("1", "1", TOPIC, "phx_close", {})
    assert bench.events(channel)[1:] == [Closed("left")]


def test_63_nothing_is_delivered_after_leave() -> None:
    """Whoever leaves hears no more."""
    bench = Bench()
    channel = bench.joined()
    bench.machine.leave(channel, bench.now)
    bench.far(None, None, TOPIC, "e", {})
    assert bench.events(channel) == [Joined({}, False)]


# ---------------------------------------------------------------- hostile input


NAMES = st.sampled_from([TOPIC, "call:2", "phoenix", "", "\0"])
FRAMES = st.tuples(
    st.sampled_from([None, "1", "2", 3, "x"]),
    st.sampled_from([None, "1", "2", "3", 4]),
    NAMES,
    st.sampled_from(["phx_reply", "phx_error", "phx_close", "phx_join", "e"]),
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=3) | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["status", "response", "reason", "x"]), inner, max_size=3)
        ),
        max_leaves=5,
    ),
)


@given(st.lists(FRAMES | st.sampled_from(["lose", "open", "push", "leave", "sleep"]), max_size=14))
def test_whatever_comes_in_whatever_order_nothing_raises(steps: list[Any]) -> None:
    """And in the end every command has come out, once (the bench checks that)."""
    bench = Bench(heartbeat=1000.0)
    channel, ticket = bench.asked()
    tickets = [ticket]
    for step in steps:
        match step:
            case "lose":
                bench.lose()
            case "open":
                bench.open()
            case "push":
                tickets.append(bench.push(channel))
            case "leave":
                tickets.append(bench.machine.leave(channel, bench.now))
                bench.pump()
            case "sleep":
                bench.sleep(3.0)
            case _:
                bench.far(*step)
    bench.machine.close("over", bench.now)
    bench.pump()
    assert (set(tickets) - bench.outcomes.keys(), len(bench.machine)) == (set(), 0)


# ---------------------------------------------------------------- version 1


def v1(bench: Bench, ref: str | None, event: str, payload: object) -> None:
    bench.machine.receive(
        json.dumps({"topic": TOPIC, "ref": ref, "event": event, "payload": payload}), bench.now
    )
    bench.pump()


def test_version_1_joins_receives_and_rejoins() -> None:
    """The same life over the old serializer, in which nothing received has a join_ref."""
    bench = Bench(opened=False)
    bench.open("1.0.0")
    channel, _ = bench.asked()
    v1(bench, bench.sent()[0][1], "phx_reply", {"status": "ok", "response": {}})
    v1(bench, None, "e", {})
    v1(bench, "1", "phx_error", {})
    assert bench.events(channel) == [Joined({}, False), Received("e", {}), Errored("channel error")]


def test_we_write_in_the_version_that_the_platform_writes_in() -> None:
    """A server that answers in version 1 gets version 1 (Q1)."""
    bench = Bench()
    channel, _ = bench.asked()
    v1(bench, bench.sent()[0][1], "phx_reply", {"status": "ok", "response": {}})
    bench.push(channel)
    assert bench.machine.outgoing()[0].startswith("{")  # type: ignore[arg-type]
