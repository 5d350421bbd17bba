"""The recorder plugin: every participant on a track of their own, as it came."""

from voki_bots_recorder.recorder import Recorder, RecorderSettings

__all__ = ["Recorder", "RecorderSettings"]
