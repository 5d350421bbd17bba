"""libopus through cffi."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.errors import MediaError
from voki_bots.media.dsp import level
from voki_bots.media.opus import RATES, SILENT_PACKET, Decoder, Encoder, packet_ticks


def tone(seconds: float = 1.0, rate: int = 48_000) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    return (8_000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)


@pytest.mark.parametrize("rate", RATES)
def test_every_rate_gives_the_duration_that_the_packet_names(rate: int) -> None:
    """20 ms are 20 ms at any rate."""
    assert len(Decoder(rate).decode(SILENT_PACKET)) == packet_ticks(SILENT_PACKET) * rate // 48_000


@pytest.mark.parametrize("samples", [120, 240, 480, 960, 1_920, 2_880])
def test_the_duration_is_read_from_the_first_byte(samples: int) -> None:
    """What the encoder was given is what the packet says it lasts."""
    assert packet_ticks(Encoder().encode(tone()[:samples])) == samples


def test_what_is_no_packet_lasts_nothing() -> None:
    """Empty, without its count byte, or longer than 120 ms."""
    assert [packet_ticks(p) for p in (b"", b"\x03", b"\x1b\x3f")] == [0, 0, 0]


def test_redundancy_recovers_what_no_guess_could() -> None:
    """A tone begins in the lost packet: concealment stays silent, the next packet's redundancy does not."""
    source = tone(2)
    source[: 50 * 960] = 0
    encoder = Encoder(fec=True, bitrate=24_000)
    packets = [encoder.encode(source[n : n + 960]) for n in range(0, len(source), 960)]
    lucky, unlucky = Decoder(16_000), Decoder(16_000)
    for packet in packets[:50]:
        lucky.decode(packet)
        unlucky.decode(packet)
    assert level(unlucky.conceal(320)) < -60 < -40 < level(lucky.recover(packets[51], 320))


@given(st.binary(min_size=1, max_size=200))
def test_garbage_decodes_to_something_of_at_most_120_ms(payload: bytes) -> None:
    """A broken packet never raises: a stream goes on."""
    assert len(Decoder(16_000).decode(payload)) <= 1_920


def test_a_rate_that_opus_does_not_know_is_an_error() -> None:
    """The error says which rates there are."""
    with pytest.raises(MediaError, match="44100"):
        Decoder(44_100)
