"""From a file to running bots: what ``voki-bots run`` and `voki_bots.Bot.run` share."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from voki_bots.cli.ending import EXPECTED, end
from voki_bots.errors import ConfigurationError, VokiError

if TYPE_CHECKING:
    from voki_bots.bots.bot import Bot
    from voki_bots.settings import Settings

_loading: ContextVar[bool] = ContextVar("loading", default=False)
"""True while a file of bots is executed: its own ``bot.run()`` must not start anything then."""


def load_file(file: Path, config: Path | None = None) -> Settings:
    """Read and validate bots and everything they need.

    Args:
        file: A ``.toml`` file, or a ``.py`` file that makes `voki_bots.Bot` objects.
        config: For a ``.py`` file: a TOML file with the ``[voki]`` table; None takes the environment.

    Raises:
        ConfigurationError: With every problem and its path, one a line.
    """
    from voki_bots import settings

    if file.suffix == ".toml":
        if config is not None:
            raise ConfigurationError(
                f"--config: {file} is the configuration itself; leave --config out", path="config"
            )
        return settings.load(file)
    if file.suffix == ".py":
        return settings.load(config, tuple(load_bots(file)))
    raise ConfigurationError(f"FILE: expected a .toml or a .py file, got {str(file)!r}", path="file")


def load_bots(file: Path) -> Sequence[Bot]:
    """Execute a Python file and collect the bots that it made.

    Raises:
        ConfigurationError: If the file cannot be read or fails, or makes no bot.
    """
    from voki_bots.bots.bot import bots_of

    if not file.is_file():
        raise ConfigurationError(f"FILE: {file} is no file that can be read", path="file")
    name = f"voki_bots_file_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"FILE: {file} is no Python file", path="file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(file.resolve().parent))
    token = _loading.set(True)
    try:
        spec.loader.exec_module(module)
    except (VokiError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"FILE: {_place(file, error)}", path="file") from error
    finally:
        _loading.reset(token)
        sys.path.remove(str(file.resolve().parent))
    bots = bots_of(vars(module))
    if not bots:
        raise ConfigurationError(
            f"FILE: {file} makes no bot; expected at least one voki_bots.Bot in it", path="file"
        )
    return bots


def run_bots(bots: Sequence[Bot], config: str | None = None) -> None:
    """Attend calls until SIGTERM or Ctrl-C. What goes wrong is told as ``voki-bots run`` tells it.

    Args:
        bots: The bots.
        config: A TOML file with the ``[voki]`` table; None takes the environment.

    Raises:
        SystemExit: With the exit code of ``voki-bots run``, if it failed.
    """
    if _loading.get():
        return
    try:
        from voki_bots import settings

        attend(settings.load(Path(config) if config else None, tuple(bots)))
    except EXPECTED as error:
        raise SystemExit(end(error)) from None


def attend(settings: Settings, *, log: str | None = None) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Args:
        settings: What to run.
        log: ``json`` or ``console``; None takes what the settings say.

    Raises:
        VokiError: See `voki_bots.service.run.serve`; also without a password, before anything starts.
    """
    settings.voki.secret()
    from voki_bots.service import telemetry
    from voki_bots.service.run import serve

    telemetry.setup(log or settings.service.log)
    asyncio.run(serve(settings))


def _place(file: Path, error: BaseException) -> str:
    """Say where in a file of bots something went wrong, in one line."""
    if isinstance(error, SyntaxError):
        return f"{error.filename or file} line {error.lineno}: {error.msg}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)
    ]
    where = f"{file} line {lines[-1]}" if lines else str(file)
    what = str(error).split("\n")[0]
    if isinstance(error, SystemExit):
        return f"{where}: the file ends the program itself (exit {what})"
    return f"{where}: {type(error).__name__}: {what}"
