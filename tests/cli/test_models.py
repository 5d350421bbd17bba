"""`voki-bots models`: what is there, and getting what is not."""

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voki_bots.cli.fetching import fetch
from voki_bots.cli.main import app
from voki_bots.errors import ConnectionLostError, ModelError
from voki_bots.speech_models import Listed, find_model, verify_model

GOOD = {"vosk-model-x/am/final.mdl": b"model", "vosk-model-x/conf/model.conf": b"--beam=1"}


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return content.getvalue()


class Shelf:
    """A web server with one file, which can be cut short."""

    def __init__(self) -> None:
        self.content, self.sent = b"", 1.0
        shelf = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(shelf.content)))
                self.end_headers()
                self.wfile.write(shelf.content[: int(len(shelf.content) * shelf.sent)])

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def holds(self, content: bytes) -> Listed:
        self.content = content
        url = f"http://127.0.0.1:{self._server.server_port}/model.zip"
        return Listed("tiny", "vosk", ("xx",), url=url)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    shelf = Shelf()
    yield shelf
    shelf.close()


def nothing_left(directory: Path) -> bool:
    return list(directory.iterdir()) == []


def test_a_model_is_downloaded_unpacked_and_can_be_verified(shelf: Shelf, tmp_path: Path) -> None:
    """The folder in the archive becomes the model's; its files are noted, so that a change is noticed."""
    told: list[tuple[int, int]] = []
    content = zipped(GOOD)
    place = fetch(shelf.holds(content), tmp_path, lambda done, total: told.append((done, total)))
    assert told[-1] == (len(content), len(content))
    model = find_model(place)
    assert verify_model(model) == []
    (place / "conf" / "model.conf").write_bytes(b"--beam=2")
    assert "model.conf was changed" in verify_model(model)[0]


def test_what_is_not_what_was_promised_is_not_kept(shelf: Shelf, tmp_path: Path) -> None:
    """Another hash, of the archive or of a file in it, leaves nothing."""
    good = shelf.holds(zipped(GOOD))
    for listed in (replace(good, archive="0" * 64), replace(good, files={"am/final.mdl": "0" * 64})):
        with pytest.raises(ModelError, match="not what the catalogue promises"):
            fetch(listed, tmp_path, lambda *_: None)
        assert nothing_left(tmp_path)


def test_the_hash_that_was_promised_is_taken(shelf: Shelf, tmp_path: Path) -> None:
    """With the right one it is installed."""
    content = zipped(GOOD)
    listed = replace(shelf.holds(content), archive=hashlib.sha256(content).hexdigest())
    assert fetch(listed, tmp_path, lambda *_: None) == tmp_path / "tiny"


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil"])
def test_an_archive_that_leads_out_of_its_folder_is_refused(shelf: Shelf, tmp_path: Path, name: str) -> None:
    """Nothing of it is unpacked, wherever the path leads."""
    with pytest.raises(ModelError, match="leads out of it"):
        fetch(shelf.holds(zipped({**GOOD, name: b"x"})), tmp_path / "models", lambda *_: None)
    assert nothing_left(tmp_path / "models")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", zipped({"readme": b"x"})])
def test_what_is_no_model_is_refused(shelf: Shelf, tmp_path: Path, content: bytes) -> None:
    """An error page or another archive leaves nothing."""
    with pytest.raises(ModelError, match=r"expected a zip|is no model"):
        fetch(shelf.holds(content), tmp_path, lambda *_: None)
    assert nothing_left(tmp_path)


def test_a_download_that_is_cut_off_leaves_nothing_and_can_be_repeated(shelf: Shelf, tmp_path: Path) -> None:
    """Half a model is none."""
    listed = shelf.holds(zipped({**GOOD, "vosk-model-x/graph/Gr.fst": bytes(200_000)}))
    shelf.sent = 0.5
    with pytest.raises((ConnectionLostError, ModelError)):
        fetch(listed, tmp_path, lambda *_: None)
    assert nothing_left(tmp_path)
    shelf.sent = 1.0
    assert fetch(listed, tmp_path, lambda *_: None).is_dir()


def test_what_is_there_is_not_replaced(shelf: Shelf, tmp_path: Path) -> None:
    """A running service may be using it."""
    (tmp_path / "tiny").mkdir()
    with pytest.raises(ModelError, match="is there already"):
        fetch(shelf.holds(zipped(GOOD)), tmp_path, lambda *_: None)


def test_the_list_says_what_installs_what_is_missing(tmp_path: Path) -> None:
    """As JSON, one object for each model, those of the folder too."""
    (tmp_path / "mine" / "am").mkdir(parents=True)
    (tmp_path / "mine" / "am" / "final.mdl").write_bytes(b"model")
    said = CliRunner().invoke(app, ["models", "list", "--directory", str(tmp_path), "--json"])
    rows = {row["name"]: row for row in json.loads(said.stdout)}
    assert rows["small-pt-0.3"]["command"] == "voki-bots models fetch small-pt-0.3"
    assert rows["small-pt-0.3"]["path"] is None
    assert rows["mine"]["path"] == str(tmp_path / "mine")


def test_an_unknown_model_cannot_be_fetched() -> None:
    """The sentence lists those that can."""
    said = CliRunner().invoke(app, ["models", "fetch", "big-pt"])
    assert said.exit_code == 2
    assert "expected one of ko-small" in said.output


def test_a_changed_model_fails_verification(tmp_path: Path) -> None:
    """The exit code tells a script."""
    (tmp_path / "ko-small" / "am").mkdir(parents=True)
    (tmp_path / "ko-small" / "am" / "final.mdl").write_bytes(b"other")
    said = CliRunner().invoke(app, ["models", "verify", str(tmp_path / "ko-small")])
    assert said.exit_code == 1
    assert "was changed" in said.output
