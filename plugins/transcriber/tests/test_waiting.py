"""What waits for a recognition process."""

from hypothesis import given
from hypothesis import strategies as st
from voki_bots_transcriber.waiting import Spool, Waiting
from voki_bots_transcriber.wire import Kind, Message


def audio(position: int, size: int = 100) -> Message:
    return Message(Kind.AUDIO, 1, position, bytes([position % 256]) * size)


@given(st.lists(st.one_of(st.integers(1, 60), st.just(0)), max_size=60))
def test_a_spool_gives_back_what_it_took_in_order(steps: list[int]) -> None:
    """Put (a size) and take (0) as they may come; what it refuses did not fit."""
    spool, kept = Spool(200), []
    for number, size in enumerate(steps):
        data = bytes([number]) * size
        if size and spool.put(data):
            kept.append(data)
        elif size:
            assert sum(len(each) + 16 for each in kept) + size + 16 > 200 - 60 - 16
        elif kept:
            assert spool.take() == kept.pop(0)
    assert [spool.take() for _ in kept] == kept
    spool.close()


def test_what_does_not_fit_in_memory_is_on_disk_and_cannot_be_read_there() -> None:
    """Order is kept over both; the disk never sees what was said."""
    waiting = Waiting(memory=150, spool=1_000)
    for position in range(4):
        assert waiting.put(audio(position), 0.0)
    assert waiting.spooled == 3
    assert waiting._spool is not None
    waiting._spool._file.seek(0)
    assert bytes([1]) * 16 not in waiting._spool._file.read()
    assert [entry and entry[0] for entry in (waiting.take() for _ in range(4))] == [
        audio(n) for n in range(4)
    ]
    waiting.close()


def test_what_fits_nowhere_is_refused_but_an_end_always_fits() -> None:
    """Nothing grows without limit, and no utterance stays without its end."""
    waiting = Waiting(memory=150, spool=0)
    assert [waiting.put(audio(n), 0.0) for n in range(2)] == [True, False]
    assert waiting.put(Message(Kind.END, 1, 200), 0.0)
    waiting.close()


def test_what_is_put_back_goes_first() -> None:
    """A process that died did not finish what it had."""
    waiting = Waiting(memory=1_000, spool=0)
    waiting.put(audio(2), 2.0)
    waiting.put_back([(audio(0), 0.0), (audio(1), 1.0)])
    assert waiting.since == 0.0
    assert [entry and entry[0].position for entry in (waiting.take() for _ in range(3))] == [0, 1, 2]
    waiting.close()
