"""What can be said about transcribing; every mistake is told before anything connects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from voki_bots import Call, PluginSettings, Role, check_recipients


class TranscriberSettings(PluginSettings):
    """Settings of the transcriber.

    Attributes:
        model: A name of `voki-bots models list`, or the folder of a model; the first installed one if empty.
        language: What is spoken where nothing else is known, such as ``pt``; that of the model if empty.
        models: Models of further languages, by language.
        departments: Languages of departments, by their id or name.
        directory: Where models are looked for that are given by name.
        of: Whose voices are recognised; everybody's if empty.
        vocabulary: Phrases; with any, Vosk recognises nothing else, and Whisper prefers them.
        partials: Whether captions come before an utterance is over.
        hangover: Seconds of silence that end an utterance.
        threads: How many voices one model recognises at once.
        warm: How many recognisers hear speech before they are needed, after the start and beside everything.
        memory: Bytes of audio that may wait in memory for their recognition.
        spool: Bytes that may wait on disk beyond that, encrypted with a key that is only in memory.
        second_pass: A larger model that recognises calls once more when they are over; none if empty.
        redact: What is kept back, in the transcript and in the recording: card, cpf, cnpj, phone, email.
        recipients: Public keys of age for whom transcripts are encrypted; with none they are readable.
    """

    model: str = ""
    language: str = ""
    models: Mapping[str, str] = {}
    departments: Mapping[str, str] = {}
    directory: Path = Path("models")
    of: tuple[Role, ...] = ()
    vocabulary: tuple[str, ...] = ()
    partials: bool = True
    hangover: float = Field(default=0.6, ge=0.2, le=5.0)
    threads: int = Field(default=2, ge=1, le=64)
    warm: int = Field(default=4, ge=0, le=64)
    memory: int = Field(default=64 << 20, ge=1 << 20)
    spool: int = Field(default=256 << 20, ge=0)
    second_pass: str = ""
    redact: tuple[Literal["card", "cpf", "cnpj", "phone", "email"], ...] = ()
    recipients: tuple[str, ...] = ()

    @field_validator("vocabulary")
    @classmethod
    def _phrases(cls, said: tuple[str, ...]) -> tuple[str, ...]:
        if empty := [n for n, phrase in enumerate(said) if not phrase.strip()]:
            raise ValueError(f"phrase {empty[0]} is empty")
        return said

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if found := check_recipients(self.recipients):
            raise ValueError("; ".join(found))
        known = {self.language, *self.models}
        for department, language in self.departments.items():
            if language not in known:
                raise ValueError(
                    f"departments.{department}: there is no model for {language!r}; "
                    f"set language, or models.{language}"
                )
        return self

    def language_of(self, call: Call) -> str:
        """Say what is spoken in a call: the language of its department, else the one for all."""
        for name in (call.department_id, call.department):
            if name is not None and (found := self.departments.get(name)) is not None:
                return found
        return self.language
