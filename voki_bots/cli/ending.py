"""How a command ends: a sentence for each problem, and the exit code that fits."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator
from enum import IntEnum

import typer

from voki_bots.cli.text import shown
from voki_bots.errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionLostError,
    IceError,
    JoinRefusedError,
    ReplyTimeoutError,
    VokiError,
)


class ExitCode(IntEnum):
    """What the shell is told (design section 12)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4
    INTERRUPTED = 130


_CODES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], ExitCode], ...] = (
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
    (ConfigurationError, ExitCode.USAGE),
    ((AuthenticationError, JoinRefusedError), ExitCode.REFUSED),
    ((ConnectionLostError, ReplyTimeoutError, IceError), ExitCode.UNREACHABLE),
    ((VokiError, OSError), ExitCode.FAILED),
)

EXPECTED = (VokiError, OSError, BaseExceptionGroup, KeyboardInterrupt)
"""What `end` takes. Anything else is a mistake in this program and keeps its traceback."""


def code_of(error: BaseException) -> ExitCode | None:
    """Say with which code an error ends a command, or None if it is a mistake in this program."""
    for kinds, code in _CODES:
        if isinstance(error, kinds):
            return code
    return None


def end(error: BaseException, *, debug: bool = False) -> int:
    """Print what went wrong on standard error and return the exit code.

    Each line of a `ConfigurationError` is a problem and gets a line of its own. Of a group of errors each is
    told once, and the first decides the code.

    Args:
        error: What a command raised.
        debug: Print the traceback too.

    Raises:
        BaseException: The error itself, if it is a mistake in this program or a closed pipe.
    """
    leaves = list(_leaves(error))
    codes = [code_of(leaf) for leaf in leaves]
    if None in codes or any(isinstance(e, OSError) and e.errno == errno.EPIPE for e in leaves):
        raise error
    if debug:
        typer.echo("".join(traceback.format_exception(error)), err=True)
    lines = [line for leaf in leaves for line in _sentences(leaf)]
    for line in dict.fromkeys(lines):
        typer.echo(f"{typer.style('error:', fg='red', bold=True)} {line}", err=True)
    return int(codes[0] or ExitCode.FAILED)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _sentences(error: BaseException) -> list[str]:
    if isinstance(error, KeyboardInterrupt):
        return []
    if isinstance(error, OSError):
        why = error.strerror or str(error) or type(error).__name__
        return [shown(f"{error.filename}: {why}" if error.filename else why)]
    text = str(error) or type(error).__name__
    if isinstance(error, ConfigurationError):
        return [shown(line) for line in text.split("\n") if line.strip()]
    return [shown(text)]
