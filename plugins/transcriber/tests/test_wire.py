"""Messages between the service and a recognition process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voki_bots_transcriber.wire import HEAD, LONGEST, Kind, Message, Reader

messages = st.builds(
    Message,
    st.sampled_from(list(Kind)),
    st.integers(0, 2**32 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(max_size=100),
)


@given(st.lists(messages, max_size=8), st.integers(1, 40))
def test_messages_come_out_as_they_went_in(sent: list[Message], size: int) -> None:
    """Whatever pieces a socket makes of them."""
    wire, reader = b"".join(message.encoded() for message in sent), Reader()
    pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
    assert [message for piece in pieces for message in reader.feed(piece)] == sent


def test_a_length_that_nobody_writes_is_refused() -> None:
    """What is no message of ours must not fill our memory."""
    with pytest.raises(ValueError, match="at most"):
        list(Reader().feed(HEAD.pack(Kind.PARTIAL, 1, 0, LONGEST + 1)))
