"""What people say, and the files it is kept in."""

import io

import av
import numpy as np
import pytest

from voki_bots.errors import ConfigurationError
from voki_bots.sandbox import voices
from voki_bots.sandbox.ogg import read_packets, write_packets
from voki_bots.sandbox.options import Switches
from voki_bots.sandbox.script import PersonScript


def decoded(packets):
    container = write_packets([(index * 960, packet) for index, packet in enumerate(packets)])
    with av.open(io.BytesIO(container)) as opened:
        return np.concatenate([frame.to_ndarray()[0] for frame in opened.decode(audio=0)])


def test_packets_survive_the_container():
    """What is written is read again, byte for byte, long packets too."""
    packets = [b"a" * size for size in (1, 254, 255, 256, 510, 700)]
    assert read_packets(write_packets([(i * 960, p) for i, p in enumerate(packets)])) == packets


def test_a_file_of_packets_plays_at_its_length():
    """A foreign decoder makes 20 ms of each packet."""
    assert len(decoded(voices.utterance("pt00"))) == len(voices.utterance("pt00")) * 960


def test_no_ogg_is_refused():
    """Other bytes are no Ogg/Opus."""
    with pytest.raises(ValueError, match="Ogg"):
        read_packets(b"RIFF" * 20)


def test_a_tone_is_a_tone():
    """One second of the loop holds one frequency."""
    tone = voices.tone(440)
    samples = decoded([next(tone) for _ in range(75)])[14_400:62_400]
    assert int(np.abs(np.fft.rfft(samples)).argmax()) == 440


def test_silence_is_silent():
    """Packets of silence decode to next to nothing."""
    assert np.abs(decoded([voices.silence()] * 20)).max() < 0.001


@pytest.mark.parametrize("language", voices.LANGUAGES)
def test_no_two_people_say_the_same_at_once(language):
    """Attendant, customer and supervisor begin with different texts."""
    firsts = {voices.utterances(language, speaker)[0] for speaker in range(4)}
    assert len(firsts) == 4


@pytest.mark.parametrize(
    "body",
    [{"role": "boss"}, {"tone": 1}, {"joins": "later"}, {"leaves": -1}, {"speech": 3}, {"colour": "red"}],
)
def test_an_impossible_person_is_refused(body):
    """A mistyped person is one sentence that names the field."""
    with pytest.raises(ConfigurationError):
        PersonScript.parse(body)


@pytest.mark.parametrize("speech", ["xx", ["nope"]])
def test_unknown_speech_is_refused(speech):
    """A language or asset that does not exist is noticed before the call begins."""
    with pytest.raises(ConfigurationError):
        PersonScript.parse({"speech": speech}).packets(0)


@pytest.mark.parametrize("values", [{"nope": True}, {"snapshot": 1}, {"lose": True}, {"lose": "x"}])
def test_an_impossible_switch_is_refused(values):
    """A mistyped switch names itself."""
    with pytest.raises(ConfigurationError):
        Switches().changed(values)
