"""Which of our tests stands for which of Phoenix's own, and for which row of the list of its behaviours.

`CLIENT_TESTS` lists the 143 tests of the JavaScript client (version 1.8.12, ``assets/test``) that apply to a
client in Python, by file and by their place in it: ``c`` channel, ``s`` socket, ``p`` presence, ``z``
serializer. Browsers, long polling and what only that client's inside is made of are left out. A value names
a test below ``tests/``, or is a `Reason` why there is none.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
BEHAVIOURS = range(1, 79)


class Reason(str):
    """Why a test of Phoenix's has no counterpart."""

    __slots__ = ()


LATE = Reason("whoever waits awaits the command itself: nobody can begin to wait after the reply came")

CHANNEL = "signalling/test_channel.py::test_"
SOCKET = "signalling/test_socket.py::test_"
PRESENCE = "signalling/test_presence.py::test_"
WIRE = "signalling/test_wire.py::test_"
BUS = "bots/test_bus.py::test_"
HANDLERS = "bots/test_handlers.py::test_"

CLIENT_TESTS: dict[str, str] = {
    # a new channel, its params
    "c1": CHANNEL + "41_a_push_before_any_join_is_a_mistake",
    "c2": SOCKET + "23_join_returns_the_response",
    "c3": CHANNEL + "21_params_are_computed_at_every_join",
    "c4": Reason("a token in the subprotocol is an option of Phoenix 1.8; Voki documents the query"),
    "c5": SOCKET + "2_the_token_is_asked_for_at_every_attempt",
    "c6": CHANNEL + "21_params_are_computed_at_every_join",
    # join
    "c7": CHANNEL + "29_a_join_before_the_socket_opens_is_sent_on_open",
    "c8": CHANNEL + "22_a_channel_can_be_joined_once",
    "c9": CHANNEL + "22_a_channel_can_be_joined_once",
    "c10": CHANNEL + "21_a_join_has_equal_refs_and_its_params",
    "c11": SOCKET + "28_a_join_without_an_answer_raises",
    "c12": CHANNEL + "30_a_second_channel_of_a_topic_closes_the_first",
    "c13": CHANNEL + "23_ok_settles_the_join_with_the_response",
    "c14": CHANNEL + "28_a_join_that_timed_out_is_tried_again",
    "c15": CHANNEL + "29_the_timeout_of_a_join_runs_from_the_call",
    "c16": CHANNEL + "29_a_join_before_the_socket_opens_is_sent_on_open",
    # its outcome
    "c17": CHANNEL + "23_ok_settles_the_join_with_the_response",
    "c18": SOCKET + "23_join_returns_the_response",
    "c19": LATE,
    "c20": CHANNEL + "44_no_timeout_after_a_reply",
    "c21": CHANNEL + "23_a_join_that_succeeded_does_not_time_out",
    "c23": CHANNEL + "48_nothing_is_remembered_after_replies_timeouts_and_cancellations",
    "c24": CHANNEL + "23_the_back_off_begins_anew_after_a_join",
    "c25": CHANNEL + "23_buffered_pushes_go_out_in_order_after_the_join",
    "c26": CHANNEL + "28_the_late_ok_of_a_timed_out_join_is_ignored",
    "c27": CHANNEL + "28_a_join_that_times_out_leaves_with_its_own_join_ref",
    "c28": CHANNEL + "28_the_late_ok_of_a_timed_out_join_is_ignored",
    "c29": CHANNEL + "28_a_join_that_timed_out_is_tried_again",
    "c30": CHANNEL + "24_a_refused_join_fails_with_the_reason_and_closes",
    "c31": LATE,
    "c32": CHANNEL + "24_nothing_follows_a_refusal",
    "c33": CHANNEL + "24_nothing_follows_a_refusal",
    "c36": CHANNEL + "24_a_refused_join_fails_with_the_reason_and_closes",
    "c37": CHANNEL + "24_a_refused_join_flushes_nothing",
    # errors and closes
    "c38": CHANNEL + "52_an_error_tells_its_reason",
    "c39": CHANNEL + "52_a_second_error_is_said_and_planned_once",
    "c40": CHANNEL + "55_an_error_while_leaving_does_not_rejoin",
    "c41": CHANNEL + "55_an_error_of_a_closed_channel_changes_nothing",
    "c42": CHANNEL + "52_an_error_tells_its_reason",
    "c43": CHANNEL + "57_a_close_by_the_platform_is_final",
    "c44": CHANNEL + "57_a_close_by_the_platform_is_final",
    "c45": SOCKET + "the_iteration_ends_after_closed",
    "c46": CHANNEL + "57_a_close_by_the_platform_is_final",
    # messages
    "c48": SOCKET + "joined_says_whether_a_push_would_go_out_at_once",
    "c49": SOCKET + "joined_says_whether_a_push_would_go_out_at_once",
    "c50": CHANNEL + "37_a_message_right_behind_the_join_reply_is_delivered",
    "c51": HANDLERS + "35_every_function_for_an_event_is_called",
    "c52": BUS + "everybody_hears_everything_in_order",
    "c53": BUS + "35_listeners_may_come_and_go_at_any_time",
    "c54": BUS + "35_listeners_may_come_and_go_at_any_time",
    "c55": BUS + "35_listeners_may_come_and_go_at_any_time",
    # push
    "c56": SOCKET + "45_push_returns_the_reply",
    "c57": CHANNEL + "23_buffered_pushes_go_out_in_order_after_the_join",
    "c58": CHANNEL + "43_a_push_that_timed_out_in_the_buffer_is_never_sent",
    "c59": CHANNEL + "44_the_timeout_is_the_sockets_unless_given",
    "c60": CHANNEL + "44_the_timeout_is_the_sockets_unless_given",
    "c61": CHANNEL + "44_no_timeout_after_a_reply",
    "c62": CHANNEL + "41_a_push_before_any_join_is_a_mistake",
    "c63": CHANNEL + "48_nothing_is_remembered_after_replies_timeouts_and_cancellations",
    # leave
    "c64": CHANNEL + "63_nothing_is_delivered_after_leave",
    "c65": CHANNEL + "59_leave_sends_the_current_join_ref_and_closes_on_ok",
    "c66": CHANNEL + "59_leave_sends_the_current_join_ref_and_closes_on_ok",
    # a new socket, its address
    "s1": CHANNEL + "52_a_crashed_channel_rejoins_after_1_2_5_10_10_seconds",
    "s2": SOCKET + "2_the_token_is_asked_for_at_every_attempt",
    "s3": SOCKET + "16_heartbeats_keep_a_quiet_connection",
    "s10": SOCKET + "1_the_address_gets_its_parts_once",
    "s13": SOCKET + "1_the_address_gets_its_parts_once",
    "s14": SOCKET + "14_every_opening_and_close_is_told_once",
    "s15": SOCKET + "3_one_connection_is_open_at_a_time",
    "s16": SOCKET + "2_the_token_is_asked_for_at_every_attempt",
    # closing
    "s20": SOCKET + "8_after_the_exit_nothing_reconnects",
    "s21": SOCKET + "8_after_the_exit_nothing_reconnects",
    "s22": SOCKET + "14_every_opening_and_close_is_told_once",
    "s23": SOCKET + "9_an_exit_before_the_connection_is_clean",
    "s24": SOCKET + "76_replace_reconnects_at_once_with_a_fresh_token",
    "s25": Reason("a socket is closed by leaving its `async with`, which happens once"),
    "s26": SOCKET + "open_says_whether_there_is_a_connection",
    "s28": SOCKET + "open_says_whether_there_is_a_connection",
    "s29": SOCKET + "open_says_whether_there_is_a_connection",
    "s30": Reason("while a socket closes its user waits for the end of its `async with`"),
    "s31": SOCKET + "open_says_whether_there_is_a_connection",
    # channels, pushes, refs
    "s32": SOCKET + "23_join_returns_the_response",
    "s33": "signalling/test_pool.py::test_channels_are_spread_over_sockets",
    "s34": CHANNEL + "59_leave_sends_the_current_join_ref_and_closes_on_ok",
    "s35": SOCKET + "45_push_returns_the_reply",
    "s36": SOCKET + "42_a_send_during_an_outage_arrives_with_the_new_join_ref",
    "s37": CHANNEL + "54_all_errored_channels_rejoin_at_once_after_a_reconnect",
    # heartbeat
    "s39": SOCKET + "17_a_frozen_wire_is_noticed_and_replaced",
    "s40": CHANNEL + "16_heartbeats_come_at_the_interval_after_the_opening",
    "s41": CHANNEL + "16_no_heartbeat_while_not_connected",
    # opening
    "s42": CHANNEL + "29_a_join_before_the_socket_opens_is_sent_on_open",
    "s43": CHANNEL + "7_a_failed_connect_while_joining_gives_one_join_on_the_next",
    "s44": CHANNEL + "29_a_join_before_the_socket_opens_is_sent_on_open",
    "s45": "signalling/test_dialling.py::test_6_the_back_off_begins_anew_after_an_opening",
    "s46": SOCKET + "14_every_opening_and_close_is_told_once",
    "s47": CHANNEL + "17_a_missed_heartbeat_errors_the_channels_and_says_so",
    # a lost connection; a close with code 1000 reconnects too, which that client did not at first
    "s48": SOCKET + "10_11_every_close_of_the_server_reconnects_and_rejoins",
    "s49": SOCKET + "10_11_every_close_of_the_server_reconnects_and_rejoins",
    "s50": SOCKET + "8_after_the_exit_nothing_reconnects",
    "s51": SOCKET + "10_11_every_close_of_the_server_reconnects_and_rejoins",
    "s52": SOCKET + "5_a_refused_connection_is_told_and_retried",
    "s53": SOCKET + "14_every_opening_and_close_is_told_once",
    "s54": CHANNEL + "53_a_lost_socket_errors_joined_and_joining_channels_only",
    "s55": CHANNEL + "53_a_lost_socket_errors_joined_and_joining_channels_only",
    "s56": CHANNEL + "53_a_lost_socket_errors_joined_and_joining_channels_only",
    "s57": SOCKET + "8_after_the_exit_nothing_reconnects",
    "s58": SOCKET + "8_after_the_exit_nothing_reconnects",
    "s59": SOCKET + "14_every_opening_and_close_is_told_once",
    "s60": CHANNEL + "53_a_lost_socket_errors_joined_and_joining_channels_only",
    "s61": CHANNEL + "7_a_failed_connect_while_joining_gives_one_join_on_the_next",
    "s62": CHANNEL + "53_a_lost_socket_errors_joined_and_joining_channels_only",
    "s63": CHANNEL + "53_a_lost_socket_errors_joined_and_joining_channels_only",
    # messages, ping, serializers
    "s65": SOCKET + "36_events_come_in_the_order_of_their_arrival",
    "s66": SOCKET + "36_events_come_in_the_order_of_their_arrival",
    "s67": SOCKET + "20_ping_measures_the_round_trip",
    "s68": CHANNEL + "20_ping_fails_when_not_connected",
    "s69": WIRE + "73_text_is_written_as_the_javascript_client_writes_it",
    "s70": Reason("the serializer is chosen by version among Phoenix's own; another would not be understood"),
    "s72": WIRE + "73_text_is_read_back",
    "s73": WIRE + "the_version_is_told_by_the_shape",
    # presence
    "p1": PRESENCE + "72_every_vector_reproduces",
    "p2": PRESENCE + "72_every_vector_reproduces",
    "p3": PRESENCE + "72_every_vector_reproduces",
    "p4": PRESENCE + "72_every_vector_reproduces",
    "p5": PRESENCE + "69_one_of_two_devices_leaving_is_not_offline",
    "p6": PRESENCE + "69_one_of_two_devices_leaving_is_not_offline",
    "p7": PRESENCE + "64_any_key_comes_and_goes",
    "p8": PRESENCE + "64_any_key_comes_and_goes",
    "p9": PRESENCE + "71_what_is_returned_are_copies",
    "p10": Reason("`list()` gives a dict, which a comprehension shapes"),
    "p11": PRESENCE + "72_every_vector_reproduces",
    "p12": PRESENCE + "65_a_diff_before_the_state_is_held_and_applied_after_it",
    "p13": Reason("`state` and `diff` are called by whoever knows the names of the events"),
    "p14": PRESENCE + "68_an_update_is_a_change",
    # serializer
    "z1": WIRE + "73_text_is_written_as_the_javascript_client_writes_it",
    "z2": WIRE + "73_text_is_read_back",
    "z3": WIRE + "73_binary_pushes_count_utf8_bytes",
    "z4": WIRE + "73_binary_pushes_count_utf8_bytes",
    "z5": WIRE + "74_binary_messages_are_read",
    "z6": WIRE + "74_binary_messages_are_read",
    "z7": WIRE + "73_binary_pushes_count_utf8_bytes",
    "z8": WIRE + "73_a_name_of_more_than_255_bytes_is_refused_before_sending",
    "z9": WIRE + "74_binary_messages_are_read",
}


@cache
def names(file: Path) -> frozenset[str]:
    """The tests of a file."""
    return frozenset(re.findall(r"^ *(?:async )?def (test_\w+)", file.read_text("utf-8"), re.MULTILINE))


def test_every_client_test_that_applies_is_in_the_table() -> None:
    """62 of channels, 58 of sockets, 14 of presence, 9 of serializers."""
    counts = {kind: sum(key.startswith(kind) for key in CLIENT_TESTS) for kind in "cspz"}
    assert counts == {"c": 62, "s": 58, "p": 14, "z": 9}


@pytest.mark.parametrize(
    "place", [key for key, value in CLIENT_TESTS.items() if not isinstance(value, Reason)]
)
def test_the_table_names_tests_that_there_are(place: str) -> None:
    """A test that was renamed is renamed here."""
    file, _, name = CLIENT_TESTS[place].partition("::")
    assert name in names(TESTS / file)


def test_every_behaviour_has_a_test_of_its_number() -> None:
    """Each of the 78 rows of the list of behaviours is in the name of a test."""
    tests = {name for file in TESTS.rglob("test_*.py") for name in names(file)}
    rows = {
        int(row)
        for name in tests
        if (m := re.match(r"test_((?:\d+_)+)", name))
        for row in m[1].split("_")[:-1]
    }
    assert sorted(set(BEHAVIOURS) - rows) == []
