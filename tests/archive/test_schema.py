"""Every sidecar is as its published schema says."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.archive.studio import ATTENDANT, CUSTOMER, Speech, made
from voki_bots.archive.finish import finish
from voki_bots.archive.options import FinishOptions
from voki_bots.archive.retention import Archive
from voki_bots.archive.sidecar import VERSION, fold
from voki_bots.calls import (
    Call,
    CallJoined,
    ConsentGiven,
    MediaConnected,
    MediaLost,
    PacketsDropped,
    PluginDetached,
    RecordingPaused,
    RecordingResumed,
    Supervision,
    SupervisionStarted,
    Track,
)
from voki_bots.testing import tone

SCHEMA = Path(__file__).parents[2] / f"docs/call.v{VERSION}.schema.json"


@pytest.fixture(scope="module")
def schema() -> Any:
    loaded = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(loaded)
    return jsonschema.Draft202012Validator(loaded)


def test_the_schema_names_every_key_and_no_other(schema: Any) -> None:
    """What the code writes and what the schema lists are the same."""
    assert set(schema.schema["properties"]) == set(schema.schema["required"]) == set(fold([]))


def test_an_empty_sidecar_is_valid(schema: Any) -> None:
    """Before anything is known every key is there."""
    schema.validate(fold([]))


def test_the_sidecar_of_a_running_call_is_valid(desk: Any, schema: Any) -> None:
    """From its first second on."""
    schema.validate(json.loads((desk.open().directory / "call.json").read_bytes()))


def test_the_sidecar_of_an_eventful_call_is_valid(desk: Any, schema: Any) -> None:
    """With everything in it that can happen, finished, held and repaired."""
    folder = desk.open()
    for event in (
        CallJoined(Call("acme", "c-1", customer_name="Ana"), "u-bot"),
        MediaConnected(0),
        MediaLost(0, "ice failed"),
        SupervisionStarted(Supervision.WHISPER, "u-9", "Eva"),
        ConsentGiven("u-1", "said yes"),
        RecordingPaused("api", 1.0),
        RecordingResumed("api", 2.0),
        PacketsDropped("recorder", Track(0, "1", 1), 3),
        PluginDetached("recorder", "the disk"),
    ):
        folder.record(event)
    folder.record("clock_measured", track="0:1:1", position=1.0, late=0.0, anchor=0)
    folder.record("finish_planned", options=FinishOptions().as_json(), keep=86_400)
    folder.close()
    directory = made(desk, [ATTENDANT, CUSTOMER, Speech("supervisor", tone(900, 1.0))])
    Archive(desk.root).hold(directory, by="legal", reason="case 7")
    sidecar = finish(directory)
    assert sidecar["holds"] and sidecar["masks"] and sidecar["finish"]["left_out"]
    schema.validate(sidecar)
    schema.validate(json.loads((directory / "call.json").read_bytes()))
