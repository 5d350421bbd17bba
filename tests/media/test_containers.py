"""Files, judged by decoding them."""

import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voki_bots.errors import FileWriteError
from voki_bots.media.containers import (
    OggOpusWriter,
    WavWriter,
    decode_file,
    ogg_checksum,
    read_opus,
    read_tags,
)
from voki_bots.media.opus import SILENT_PACKET, Encoder


def tone(seconds: float, hertz: float = 440.0, rate: int = 48_000) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    return (8_000 * np.sin(2 * np.pi * hertz * t)).astype(np.int16)


def packets(seconds: float) -> list[bytes]:
    encoder, samples = Encoder(), tone(seconds)
    return [encoder.encode(samples[n : n + 960]) for n in range(0, len(samples), 960)]


def write(path: Path, payloads: list[bytes], hole_at: int = -1, start: int = 0) -> None:
    writer, at = OggOpusWriter(path, tags={"CALL": "acme/1"}), start
    for n, payload in enumerate(payloads):
        at += 48_000 if n == hole_at else 0
        writer.write(payload, at, 960)
        at += 960
    writer.close()


@given(st.binary(max_size=600))
def test_the_checksum_is_that_of_ogg(data: bytes) -> None:
    """The quick way gives what the definition in RFC 3533 gives."""
    register = 0
    for byte in data:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1 ^ (0x04C11DB7 if register >> 31 else 0)) & 0xFFFFFFFF
    assert ogg_checksum(data) == register


def test_packets_come_back_as_they_were(tmp_path: Path) -> None:
    """Payloads and timestamps survive the file."""
    payloads = packets(3)
    write(tmp_path / "a.opus", payloads, start=1_234)
    assert read_opus(tmp_path / "a.opus") == [(1_234 + 960 * n, p) for n, p in enumerate(payloads)]


def test_another_decoder_gives_exactly_the_sum_of_the_durations(tmp_path: Path) -> None:
    """FFmpeg decodes as many samples as the packets last, hole or not."""
    write(tmp_path / "a.opus", packets(3), hole_at=70, start=480_000)
    with av.open(str(tmp_path / "a.opus")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) == 3 * 48_000


def test_a_hole_is_seen_as_a_jump_of_the_granule_position(tmp_path: Path) -> None:
    """The second after a hole has timestamps a second later."""
    write(tmp_path / "a.opus", packets(2), hole_at=50)
    times = [t for t, _ in read_opus(tmp_path / "a.opus")]
    assert (times[49], times[50]) == (49 * 960, 50 * 960 + 48_000)


def test_decoding_fills_holes_with_silence(tmp_path: Path) -> None:
    """Two seconds of tone with a second missing decode to three seconds, silent in the middle."""
    write(tmp_path / "a.opus", packets(2), hole_at=50)
    samples = decode_file(tmp_path / "a.opus", 16_000)
    assert (len(samples), int(np.abs(samples[16_000:32_000]).max())) == (48_000, 0)


def test_the_decoded_tone_is_the_tone(tmp_path: Path) -> None:
    """The loudest frequency of the file is that of what was encoded."""
    write(tmp_path / "a.opus", packets(2))
    spectrum = np.abs(np.fft.rfft(decode_file(tmp_path / "a.opus", 16_000)[8_000:24_000]))
    assert int(spectrum.argmax()) == 440


def test_tags_come_back(tmp_path: Path) -> None:
    """What the header was given can be read."""
    write(tmp_path / "a.opus", [])
    assert read_tags(tmp_path / "a.opus") == {"CALL": "acme/1"}


def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Recordings are created 0600."""
    write(tmp_path / "a.opus", [])
    assert stat.S_IMODE((tmp_path / "a.opus").stat().st_mode) == 0o600


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    """A file that exists is an error that names it."""
    write(tmp_path / "a.opus", [])
    with pytest.raises(FileWriteError, match=r"a\.opus cannot be created"):
        OggOpusWriter(tmp_path / "a.opus")


def test_a_full_disk_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    """What the disk does not take is a FileWriteError with the path."""
    writer = OggOpusWriter(tmp_path / "a.opus")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(FileWriteError) as caught:
            for n in range(10):
                writer.write(bytes(100), n * 960, 960)
                writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        writer.close()
    assert caught.value.path == str(tmp_path / "a.opus")


def test_a_torn_page_at_the_end_is_left_out(tmp_path: Path) -> None:
    """Whatever number of bytes is cut off, the whole pages before them are read."""
    path, payloads = tmp_path / "a.opus", packets(1)
    writer = OggOpusWriter(path)
    for n, payload in enumerate(payloads):
        writer.write(payload, n * 960, 960)
        if n == 24:
            writer.flush()
            whole = path.stat().st_size
    writer.flush()
    path.write_bytes(path.read_bytes()[: whole + 100])
    assert [p for _, p in read_opus(path)] == payloads[:25]


CHILD = """
import sys, time
from pathlib import Path
from voki_bots.media.containers import OggOpusWriter
writer = OggOpusWriter(Path(sys.argv[1]))
for n in range(500):
    writer.write(b"\\xf8\\xff\\xfe", n * 960, 960)
    if n % 50 == 49:
        writer.flush()
    if n == 320:
        print("now", flush=True)
        time.sleep(60)
"""


def test_kill_9_loses_at_most_a_second(tmp_path: Path) -> None:
    """A process that flushes every second is killed; all but its last second decodes."""
    path = tmp_path / "a.opus"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    with av.open(str(path)) as container:
        decoded = sum(frame.samples for frame in container.decode(audio=0))
    assert decoded == len(read_opus(path)) * 960 == 300 * 960


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    """Reading any other file says so."""
    (tmp_path / "x").write_bytes(b"OggS" * 20)
    with pytest.raises(ValueError, match="no Ogg/Opus file"):
        read_opus(tmp_path / "x")


def test_wav_is_readable_after_each_flush(tmp_path: Path) -> None:
    """The header is right although the file was not closed."""
    writer = WavWriter(tmp_path / "a.wav", 16_000)
    writer.write(tone(1, rate=16_000))
    writer.flush()
    with av.open(str(tmp_path / "a.wav")) as container:
        decoded = sum(frame.samples for frame in container.decode(audio=0))
    writer.close()
    assert decoded == 16_000


def test_one_damaged_page_loses_no_other(tmp_path: Path) -> None:
    """A flipped bit costs the packets of its page; those before and after are read, at their places."""
    writer = OggOpusWriter(tmp_path / "a.opus")
    for number in range(150):
        writer.write(SILENT_PACKET, number * 960, 960)
        if number % 50 == 49:
            writer.flush()
    writer.close()
    content = bytearray((tmp_path / "a.opus").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.opus").write_bytes(content)
    expected = [*range(50), *range(100, 150)]
    assert [at for at, _ in read_opus(tmp_path / "a.opus")] == [number * 960 for number in expected]
