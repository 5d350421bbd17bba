"""Files that only who has a private key can read."""

import os
from pathlib import Path

import pyrage
import pytest

from voki_bots.errors import ConfigurationError, FileWriteError
from voki_bots.media.containers import OggOpusWriter, opus_packets
from voki_bots.media.encrypted import (
    EncryptedFile,
    Keys,
    check_recipients,
    decrypt_file,
    decrypted,
    spans,
    whole,
)
from voki_bots.media.opus import Encoder
from voki_bots.testing import tone

ANA, EVE = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
TO_ANA = (str(ANA.to_public()),)
KEYS = Keys([ANA])


def written(path: Path, *chunks: bytes, close: bool = True) -> Path:
    file = EncryptedFile(path, TO_ANA)
    for chunk in chunks:
        file.write(chunk)
    if close:
        file.close()
    else:
        os.close(file._descriptor())
    return path


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    """Every chunk, in order, for whom it was written."""
    path = written(tmp_path / "a.enc", b"one", b"two" * 1_000_000)
    assert b"".join(decrypted(path, KEYS)) == b"one" + b"two" * 1_000_000
    assert whole(path) and path.stat().st_mode & 0o777 == 0o600


def test_nothing_of_it_can_be_read_without_the_key(tmp_path: Path) -> None:
    """Another key is refused, and the plaintext is nowhere in the file."""
    path = written(tmp_path / "a.enc", b"a secret that nobody may see")
    assert b"secret" not in path.read_bytes()
    for keys, why in ((Keys([EVE]), "none of the keys"), (None, "needs a key")):
        with pytest.raises(ValueError, match=why):
            list(decrypted(path, keys))


@pytest.mark.parametrize("cut", [1, 20, 30, 60])
def test_a_file_that_is_cut_short_gives_all_whole_chunks(tmp_path: Path, cut: int) -> None:
    """A kill in the middle of a chunk loses that chunk alone."""
    path = written(tmp_path / "a.enc", b"one", b"two", b"3" * 40, close=False)
    path.write_bytes(path.read_bytes()[:-cut])
    assert list(decrypted(path, KEYS)) == [b"one", b"two"] and not whole(path)


def test_a_change_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    """Bits, and chunks that were exchanged, left out or repeated."""
    path = written(tmp_path / "a.enc", b"a" * 10, b"b" * 10, b"c" * 10)
    data = path.read_bytes()
    size = 21 + 10 + 16
    start = len(data) - 3 * size - (21 + 16)
    first, second, rest = (
        data[start : start + size],
        data[start + size : start + 2 * size],
        data[start + 2 * size :],
    )
    head = data[:start]
    changed = bytearray(data)
    changed[start + 30] ^= 1
    for bad in (
        bytes(changed),
        head + second + first + rest,
        head + second + rest,
        head + first + first + rest,
    ):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="was changed: chunk"):
            list(decrypted(path, KEYS))


def test_a_track_is_read_with_the_key_and_measured_without(tmp_path: Path) -> None:
    """Which ticks an Ogg/Opus file holds is known to everybody, what is said in them is not."""
    encoder, path = Encoder(48_000), tmp_path / "a.opus.enc"
    payloads = [encoder.encode(tone(440, 0.02)) for _ in range(100)]
    writer = OggOpusWriter(path, recipients=TO_ANA)
    for number, payload in enumerate(payloads):
        writer.write(payload, number * 960 + (4_800 if number >= 60 else 0), 960)
        if number % 50 == 49:
            writer.flush()
    writer.close()
    assert [payload for _, payload in opus_packets(path, KEYS)] == payloads
    found = list(spans(path))
    assert sum(end - begin for begin, end in found) == 96_000
    assert (0, 48_000) in found and any(begin == 62_400 for begin, _ in found)


def test_a_file_is_decrypted_into_a_new_one(tmp_path: Path) -> None:
    """It is for its owner alone, and nothing is written over."""
    path, target = written(tmp_path / "a.enc", b"one"), tmp_path / "plain/a"
    decrypt_file(path, target, KEYS)
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"one", 0o600)
    with pytest.raises(FileWriteError):
        decrypt_file(path, target, KEYS)


def test_keys_come_from_a_file_as_age_writes_it(tmp_path: Path) -> None:
    """Comments are passed over; what is no key is refused without being shown."""
    (tmp_path / "key.txt").write_text(f"# created: today\n{ANA}\n")
    path = written(tmp_path / "a.enc", b"one")
    assert b"".join(decrypted(path, Keys.from_file(tmp_path / "key.txt"))) == b"one"
    (tmp_path / "key.txt").write_text("AGE-SECRET-KEY-1NOSUCHKEY\n")
    with pytest.raises(ConfigurationError, match="holds no key of age") as caught:
        Keys.from_file(tmp_path / "key.txt")
    assert "NOSUCHKEY" not in str(caught.value)


def test_a_private_key_is_no_recipient() -> None:
    """What is wrong is told by its place; a key that was put there by mistake is not shown in full."""
    (said,) = check_recipients([*TO_ANA, str(ANA)])
    assert said.startswith("recipients.1: expected a public key of age") and str(ANA) not in said
