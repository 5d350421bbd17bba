"""Putting files of a plugin into the folder of a call that is over, so that they are proved too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from voki_bots.archive.finish import aside_of, sealed
from voki_bots.archive.journal import Journal, read_journal
from voki_bots.archive.layout import JOURNAL, make_directory, safe_name, writing
from voki_bots.archive.seal import seal_with
from voki_bots.archive.sidecar import fold
from voki_bots.errors import ConfigurationError
from voki_bots.media.encrypted import ENDING, new_file

PATIENCE = 120.0
"""Seconds that a session may take to seal its folder, or somebody else to finish it."""


def wait_until_sealed(directory: Path, patience: float = PATIENCE) -> None:
    """Wait until nobody writes to the folder of a call any more; it is sealed then. Off the event loop.

    Raises:
        FileWriteError: If it is still written to afterwards, or the disk does not let us.
    """
    sealed(directory, patience)


def attach(
    directory: Path,
    folder: str,
    files: Mapping[str, bytes],
    *,
    event: str,
    patience: float = PATIENCE,
    wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    **facts: Any,
) -> list[Path]:
    """Put files below a folder of their own into the folder of a call, and seal it again. Off the event loop.

    Those of the same names are replaced. Where the call is encrypted they are, for the same people.

    Args:
        directory: The folder of the call.
        folder: The name of their own folder in it.
        files: Their content, by name.
        event: The type of the line that the journal takes.
        patience: Seconds to wait for a session or a finish.
        wall: The time in UTC.
        **facts: Of that line.

    Returns:
        The files.

    Raises:
        ConfigurationError: If a name is none of a plain file.
        FileWriteError: If the folder is still written to, or the disk does not let us.
    """
    for name in (folder, *files):
        if safe_name(name) != name:
            raise ConfigurationError(f"expected the plain name of a file, got {name[:80]!r}", path=name)
    with aside_of(directory, patience) as aside:
        sealed(directory, patience)
        sidecar = fold(read_journal(directory / JOURNAL))
        recipients = (sidecar.get("encryption") or {}).get("recipients", ())
        made = {}
        for name, content in files.items():
            named = name + ENDING if recipients else name
            file = new_file(aside / named, recipients)
            try:
                file.write(content)
            finally:
                file.close()
            made[named] = directory / folder / named
        journal = Journal(directory / JOURNAL, clock=lambda: float(sidecar["duration"]), wall=wall)
        try:
            make_directory(directory / folder)
            with writing(directory / folder):
                for named, target in made.items():
                    (aside / named).replace(target)
            journal.append_at(float(sidecar["duration"]), event, **facts)
            seal_with(journal, directory)
        finally:
            journal.close()
    return list(made.values())
