"""Whether a directory can be written to, before anything relies on it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def problem_with_directory(directory: Path) -> str | None:
    """Say why nothing could be written below a directory, which may not exist yet; None if it could.

    Nothing is left behind: a missing directory is not made, and the file that is tried has no name.
    """
    nearest = directory
    while not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        return f"{directory} cannot be made: {nearest} is no directory"
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        what = "cannot be written to" if nearest == directory else f"cannot be made in {nearest}"
        return f"{directory} {what}: {error.strerror}"
    return None
