"""The measurement is itself right: what it counts, what it compares, and what it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.density import delivered, ratios
from bench.places import PEERS, unavailable
from bench.report import table

ROOT = Path(__file__).parents[2]
FIELDS = {
    "cpu_ms_per_stream_second",
    "minstr_per_stream_second",
    "rss_kb_per_stream",
    "threads",
    "packets_expected",
    "packets_received",
    "content_ok",
}


def row(cpu: float, instructions: float | None) -> dict[str, Any]:
    made: dict[str, Any] = dict.fromkeys(FIELDS, 1)
    return made | {
        "cpu_ms_per_stream_second": cpu,
        "minstr_per_stream_second": instructions,
        "loop_lag_ms": None,
    }


def test_ratios_are_of_instructions_where_both_have_them() -> None:
    """Else of CPU time; ours over theirs."""
    found = {"ours": row(1.0, 3.0), "a": row(4.0, 30.0), "b": row(8.0, None)}
    assert ratios(found) == {"a": 0.1, "b": 0.125}


def test_a_peer_that_cannot_run_is_named_with_the_reason() -> None:
    """The table says what was left out."""
    result = {
        "job": "record",
        "streams": 2,
        "seconds": 1.0,
        "peers": {"ours": row(1.0, None)},
        "ratios": {},
        "skipped": {"nobody": unavailable("nobody", "record")},
    }
    assert "Skipped nobody: there is no peer of this name" in table(result)


def test_every_peer_has_a_receiver() -> None:
    """A module for each, and its jobs are known ones."""
    modules = {path.stem for path in (ROOT / "bench" / "peers").glob("*.py")}
    assert set(PEERS) <= modules


@pytest.mark.journey
@pytest.mark.parametrize("job", ["record", "pcm"])
def test_what_was_sent_is_what_was_received(job: str) -> None:
    """Two streams for a second: the printed object has every field, and the content is right."""
    command = ["-m", "bench", "density", "--peers", "ours", "--job", job, "--streams", "2", "--seconds", "1"]
    done = subprocess.run([sys.executable, *command, "--json"], cwd=ROOT, capture_output=True, timeout=100)
    ours = json.loads(done.stdout)["peers"]["ours"]
    assert set(ours) >= FIELDS
    assert ours["content_ok"]
    assert ours["packets_received"] == ours["packets_expected"]


def test_figures_are_of_what_was_delivered() -> None:
    """Half of the packets is half of the work; who counts none is judged by the files."""
    assert delivered([100, 100], [100, 0], []) == 0.5
    assert delivered([100], [120], []) == 1.0
    with pytest.raises(RuntimeError, match="nothing"):
        delivered([100], [0], [])


@pytest.mark.journey
def test_two_parties_of_a_call_come_over_one_connection() -> None:
    """Each line is a file of its own, whole."""
    command = [
        "-m",
        "bench",
        "density",
        "--peers",
        "ours",
        "--job",
        "record",
        "--streams",
        "4",
        "--lines",
        "2",
    ]
    done = subprocess.run(
        [sys.executable, *command, "--seconds", "1", "--json"], cwd=ROOT, capture_output=True, timeout=100
    )
    ours = json.loads(done.stdout)["peers"]["ours"]
    assert ours["content_ok"]
    assert ours["packets_received"] == ours["packets_expected"]
    assert ours["stream_seconds_delivered"] == 4.0
