"""`voki-bots transcribe`: a recording, recognised by the same path as a call."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from voki_bots import (
    ConfigurationError,
    Keys,
    RecordedVoice,
    UtteranceHeard,
    caption_files,
    find_model,
    read_transcript,
    recorded_voices,
)

FORMATS = {
    "vtt": "captions.vtt",
    "srt": "captions.srt",
    "text": "transcript.txt",
    "json": "transcript.json",
}


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    "transcribe",
    epilog="\b\nExamples:\n"
    "  voki-bots transcribe call.opus --language pt --format vtt\n"
    "  voki-bots transcribe recordings/acme/5f3c --model models/vosk-model-pt-large --compare",
)
def transcribe(
    recording: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file of audio, or the folder of a recorded call.")
    ],
    model: Annotated[
        str | None, typer.Option(help="A name of `voki-bots models list`, or the folder of a model.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="What is spoken, such as pt.")] = None,
    format_: Annotated[str, typer.Option("--format", help="vtt, srt, json or text.")] = "text",
    roles: Annotated[
        str,
        typer.Option(
            metavar="ROLES", help="Whose the channels of a file are.", show_default="attendant,customer"
        ),
    ] = "",
    vocabulary: Annotated[
        Path | None, typer.Option(help="A file of phrases, one a line; Vosk hears nothing else.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show where the transcript of the live call differs.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="A file to write to.", show_default="standard output")
    ] = None,
    identity: Annotated[
        Path | None, typer.Option(help="A file with the private key of an encrypted call.")
    ] = None,
    directory: Annotated[Path, typer.Option(help="Where models are.")] = Path("models"),
    threads: Annotated[int, typer.Option(min=1, help="Voices that are recognised at once.")] = 2,
) -> None:
    """Transcribe a recording: its channels, or the tracks of a call, are its voices.

    It is recognised by the same path as a live call. With a larger model than the live one it is a second
    pass, and --compare says what that changes.
    """
    if format_ not in FORMATS:
        raise ConfigurationError(
            f"--format: expected one of {', '.join(FORMATS)}, got {format_!r}", path="format"
        )
    if compare and not recording.is_dir():
        raise ConfigurationError("--compare needs the folder of a call that was transcribed", path="compare")
    found = find_model(model, language=language, directory=directory)
    keys = Keys.from_file(identity) if identity is not None else None
    voices = recorded_voices(recording, roles=[each for each in roles.split(",") if each], keys=keys)
    phrases = _phrases(vocabulary)
    plan = {"engine": found.engine, "model": str(found.path), "threads": threads, "phrases": phrases}
    spoken = language or (found.languages[0] if len(found.languages) == 1 else "")
    said, missed = asyncio.run(_recognise(voices, spoken, plan))
    for start, end, cause in missed:
        typer.echo(f"not recognised: {start:.2f} to {end:.2f} s ({cause})", err=True)
    if compare:
        content = _differences(recording, said, keys)
    else:
        facts = {"engine": found.engine, "model": found.name, "language": spoken}
        content = caption_files(said, facts)[FORMATS[format_]]
    if output is None:
        sys.stdout.write(content)
    else:
        output.write_text(content, "utf-8")


async def _recognise(
    voices: list[RecordedVoice], language: str, plan: dict[str, Any]
) -> tuple[list[UtteranceHeard], list[tuple[float, float, str]]]:
    from voki_bots_transcriber.offline import transcribe_recording
    from voki_bots_transcriber.recognition import Plan, Recognition

    console = Console(stderr=True)
    total = max((voice.seconds or 0.0 for voice in voices), default=0.0) or None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("loading the model", total=None)
        recognition = Recognition(Plan(language=language, warm=0, **plan), memory=16 << 20, spool=0)
        await recognition.start()
        try:
            shown.update(task, description="recognising", total=total)
            return await transcribe_recording(
                voices, recognition, language=language, progress=lambda at: shown.update(task, completed=at)
            )
        finally:
            await recognition.close()


def _phrases(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--vocabulary: {path} cannot be read: {error}", path="vocabulary") from None
    return tuple(line.strip() for line in lines if line.strip())


def _differences(directory: Path, said: list[UtteranceHeard], keys: Keys | None) -> str:
    """Show both transcripts where they differ."""
    from voki_bots_transcriber.difference import difference

    live = read_transcript(directory, keys)
    if live is None:
        raise ConfigurationError(f"{directory} holds no transcript to compare with", path="compare")
    return str(difference(live.utterances, said))
