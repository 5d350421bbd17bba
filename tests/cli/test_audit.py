"""``voki-bots audit`` shows who did what, and where somebody changed it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voki_bots.cli.main import app
from voki_bots.service.audit import AUDIT, Audit


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    kept = Audit(tmp_path, clock=lambda: 1.0, wall=lambda: datetime(2030, 1, 1, tzinfo=UTC))
    kept("marina", "listened", "acme", "c-1", side="all")
    kept("ana", "paused", "acme", "c-2", reason="card")
    kept.close()
    return tmp_path


def test_who_did_what_is_shown(archive: Path) -> None:
    """All of it, or what one person did to one call."""
    shown = CliRunner().invoke(app, ["audit", str(archive)])
    assert shown.exit_code == 0
    assert all(word in shown.output for word in ("marina", "listened", "ana", "paused", "2030-01-01"))
    one = CliRunner().invoke(app, ["audit", str(archive), "--by", "ana", "--json"])
    assert [json.loads(line)["call"] for line in one.output.splitlines()] == ["c-2"]


def test_a_changed_line_is_named(archive: Path) -> None:
    """Whoever makes it another one breaks the chain."""
    path = archive / AUDIT
    path.write_text(path.read_text().replace("marina", "nobody"))
    assert CliRunner().invoke(app, ["audit", str(archive)]).exit_code == 1


def test_where_there_is_none_it_says_so(tmp_path: Path) -> None:
    """A mistyped directory is no empty audit."""
    assert CliRunner().invoke(app, ["audit", str(tmp_path)]).exit_code == 2
