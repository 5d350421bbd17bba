"""Logs without secrets, and metrics with names that Prometheus takes."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from voki_bots.service.telemetry import Telemetry, setup

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged, as JSON lines."""
    stream = io.StringIO()
    setup("json", stream)
    yield stream
    structlog.reset_defaults()


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "s3cret"},
        {"access_token": "s3cret"},
        {"url": f"wss://voki.example/socket/websocket?token={JWT}&vsn=2.0.0"},
        {"why": f"refused: Bearer {JWT}"},
        {"nested": {"credential": "s3cret", "deep": [JWT]}},
    ],
)
def test_no_secret_is_logged(log: io.StringIO, fields: dict[str, object]) -> None:
    """Whatever is named like a secret, or looks like one, is hidden."""
    structlog.get_logger().warning("something", **fields)
    assert "s3cret" not in log.getvalue() and "eyJ" not in log.getvalue() and "[hidden]" in log.getvalue()


def test_a_line_is_json_with_its_fields(log: io.StringIO) -> None:
    """A line keeps its event, level, time and fields."""
    structlog.get_logger().info("token_renewed", call="c1")
    line = json.loads(log.getvalue())
    assert (line["event"], line["level"], line["call"], "timestamp" in line) == (
        "token_renewed",
        "info",
        "c1",
        True,
    )


def test_a_field_cannot_forge_a_line(log: io.StringIO) -> None:
    """A name with a line end stays within its line."""
    structlog.get_logger().info("joined", name='x"}\n{"event": "forged"')
    assert len(log.getvalue().splitlines()) == 1


def test_a_plugin_counts_under_its_own_labels() -> None:
    """Counters of plugins carry bot, tenant and plugin."""
    telemetry = Telemetry()
    telemetry.of("minutes", "acme", "recorder").count("files", 2)
    labels = {"bot": "minutes", "tenant": "acme", "plugin": "recorder"}
    assert telemetry.registry.get_sample_value("voki_bots_plugin_files_total", labels) == 2.0


@pytest.mark.parametrize("name", ["", "Files", "a-b", "a\n", "1a"])
def test_bad_names_of_metrics_are_refused(name: str) -> None:
    """A name that Prometheus would refuse is told at the call that used it."""
    with pytest.raises(ValueError, match="a metric's name is"):
        Telemetry().of("b", "t", "p").gauge(name, 1.0)
