"""The supervisor plugin: people listen to calls, whisper to the attendant, or are heard by all."""

from voki_bots_supervisor.events import WhisperAsked
from voki_bots_supervisor.settings import SupervisorSettings
from voki_bots_supervisor.supervise import Supervise

__all__ = ["Supervise", "SupervisorSettings", "WhisperAsked"]
