"""The recorder plugin: every participant on a track of their own, and a finished call in the end."""

from voki_bots_recorder.recorder import Recorder
from voki_bots_recorder.settings import RecorderSettings

__all__ = ["Recorder", "RecorderSettings"]
