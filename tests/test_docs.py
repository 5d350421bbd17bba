"""The docs against the code: a setting, command, event or name that is not written down fails here."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from voki_bots_recorder import RecorderSettings
from voki_bots_supervisor import SupervisorSettings
from voki_bots_transcriber import TranscriberSettings

import voki_bots
import voki_bots.testing
from voki_bots import (
    Attendance,
    Bot,
    CallEvent,
    ConsentPolicy,
    GapCause,
    Rule,
    ServiceEvent,
    SupervisionStrategy,
    Watch,
    errors,
    settings,
)
from voki_bots.archive.sidecar import fold
from voki_bots.bots import profile
from voki_bots.bots.registry import Registry
from voki_bots.cli.running import load_bots
from voki_bots.sandbox.faults import FAULTS
from voki_bots.service.access import Access
from voki_bots.service.telemetry import Telemetry
from voki_bots.settings import ServiceSettings

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = sorted([*ROOT.glob("*.md"), *DOCS, *ROOT.glob("plugins/*/*.md"), *ROOT.glob("examples/**/*.md")])
EXAMPLES = sorted(
    path for path in (ROOT / "examples").rglob("*") if path.suffix in (".py", ".toml") and path.is_file()
)
ACCOUNT = {"VOKI_URL": "https://voki.example", "VOKI_TENANT": "acme", "VOKI_EMAIL": "bots@acme.example"}
SETTINGS = (
    settings.VokiSettings,
    settings.ServiceSettings,
    settings.PersonSettings,
    settings.ProxySettings,
    settings.TlsSettings,
    settings.DeliverySettings,
    SupervisionStrategy,
    settings.ProofSettings,
    settings.ProbeSettings,
    settings.ArchiveSettings,
    Rule,
    ConsentPolicy,
    Watch,
    RecorderSettings,
    SupervisorSettings,
    TranscriberSettings,
)


def page(*names: str) -> str:
    """The text of some pages."""
    return "\n".join((ROOT / name).read_text("utf-8") for name in names)


def words(text: str) -> set[str]:
    """Every word that stands in backticks or in a code block."""
    code = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
    return {word for piece in code for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", piece)}


def missing(names: Iterable[str], *pages: str) -> list[str]:
    """Which of these names are in none of the pages."""
    written = words(page(*pages))
    return sorted(name for name in names if name not in written)


def rowless(names: Iterable[str], *pages: str) -> list[str]:
    """Which of these names begin no row of a table in the pages."""
    text = page(*pages)
    return sorted(name for name in names if not re.search(rf"^\| `{name}\b", text, re.MULTILINE))


def everywhere() -> list[str]:
    """The pages of docs/, relative to the root."""
    return [str(path.relative_to(ROOT)) for path in DOCS]


def blocks(language: str) -> Iterator[Any]:
    """Every fenced block of a language, with where it is."""
    for path in PAGES:
        text = path.read_text("utf-8")
        for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text[: found.start()].count("\n") + 1
            yield pytest.param(found[1], id=f"{path.relative_to(ROOT)}:{line}")


def links() -> Iterator[Any]:
    """Every relative link of a page."""
    for path in PAGES:
        text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
        for target in sorted(set(re.findall(r"\]\(([^)\s]+)\)", text))):
            if not re.match(r"[a-z]+:", target):
                yield pytest.param(path, target, id=f"{path.relative_to(ROOT)}→{target}")


def anchors(path: Path) -> set[str]:
    """The anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands() -> list[str]:
    """Every command, as it is typed, from the program itself."""
    from voki_bots.cli.main import app

    typer_main = import_module("typer.main")
    found: list[str] = []

    def walk(command: Any, typed: str) -> None:
        if not hasattr(command, "list_commands"):
            found.append(typed)
            return
        context = command.context_class(command)
        for name in command.list_commands(context):
            walk(command.get_command(context, name), f"{typed} {name}")

    walk(typer_main.get_command(app), "voki-bots")
    return found


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("model", SETTINGS, ids=lambda model: model.__name__)
def test_every_setting_is_described(model: Any) -> None:
    """Operators find each field of each table."""
    plugins = [f"plugins/{name}/README.md" for name in ("recorder", "supervisor", "transcriber")]
    assert rowless(model.model_fields, "docs/operations.md", *plugins) == []


def test_every_command_is_described() -> None:
    """Each command of the program is in the docs as it is typed."""
    text = page("README.md", *everywhere())
    assert [typed for typed in commands() if typed not in text] == []


def test_every_public_name_is_described() -> None:
    """What can be imported from `voki_bots` is in the docs."""
    assert missing(voki_bots.__all__, *everywhere()) == []


def test_every_public_class_has_a_docstring() -> None:
    """What can be imported says itself what it is."""
    public = {name: getattr(voki_bots, name) for name in voki_bots.__all__}
    assert [name for name, value in public.items() if inspect.isclass(value) and not value.__doc__] == []


def test_every_name_of_the_testing_kit_is_described() -> None:
    """Authors of plugins find each tool in the page about plugins."""
    kit = set(voki_bots.testing.__all__) - {"FakeLog", "FakeMetrics", "Heard"}  # reached by others' fields
    assert missing(kit, "docs/plugins.md") == []


def test_every_member_of_attendance_is_described() -> None:
    """The contract with plugins is written down in full."""
    members = [name for name in vars(Attendance) if not name.startswith("_")]
    assert rowless(members, "docs/plugins.md") == []


def test_every_method_of_a_bot_is_described() -> None:
    """The guide names whatever a bot can be told."""
    methods = [name for name, value in vars(Bot).items() if inspect.isfunction(value) and name[0] != "_"]
    assert missing(set(methods) - {"plugins"}, "docs/guide.md") == []


def test_every_error_is_in_the_drawing() -> None:
    """The docstring of `errors.py` draws the whole tree."""
    drawn = set(re.findall(r"\w+Error", errors.__doc__ or ""))
    assert {name for name in vars(errors) if name.endswith("Error")} - drawn == set()


def test_every_error_is_described() -> None:
    """The guide says of each error what to do."""
    assert rowless([name for name in vars(errors) if name.endswith("Error")], "docs/guide.md") == []


def test_every_event_is_described() -> None:
    """The guide names each event of calls, departments and users."""
    events = (*get_args(CallEvent), *get_args(ServiceEvent))
    assert missing([event.__name__ for event in events], "docs/guide.md") == []


def test_every_field_of_an_event_is_described() -> None:
    """The guide names what each event holds."""
    events = (*get_args(CallEvent), *get_args(ServiceEvent))
    fields = {name for event in events for name in event.__dataclass_fields__}
    assert missing(fields, "docs/guide.md") == []


def test_every_finding_of_a_probe_is_described() -> None:
    """Whoever signs a profile finds what each field means."""
    parts = (profile.SignallingFindings, profile.MediaFindings, profile.RejoinFindings, profile.Routing)
    names = {name for part in (*parts, profile.CapabilityProfile) for name in part.model_fields}
    assert missing(names - {"version"}, "docs/supervision.md") == []


def test_every_cause_of_a_gap_is_described() -> None:
    """Readers of a sidecar find what each cause means."""
    assert missing(map(str, GapCause), "docs/operations.md") == []


def test_every_key_of_the_sidecar_is_described() -> None:
    """Readers of `call.json` find what each key is."""
    assert missing(fold([]), "docs/operations.md") == []


def test_every_key_of_a_track_is_described() -> None:
    """Readers of `call.json` find what is said of a track and of its gaps."""
    at = {"at": 1.0, "utc": "", "hash": "", "track": "0:0:1"}
    gap = {"start": 0.0, "end": 1.0, "cause": "late_join"}
    lines = [{**at, "type": "track_started"}, {**at, "type": "gap_found", **gap}]
    (track,) = fold(lines)["tracks"]
    assert missing([*track, *track["gaps"][0]], "docs/operations.md") == []


def test_every_log_line_that_is_described_exists() -> None:
    """What operators are told to watch for is written by the code."""
    told = page("docs/operations.md").partition("Worth an alert")[2].partition("\n\n")[0]
    sources = [*(ROOT / "voki_bots").rglob("*.py"), *(ROOT / "plugins").glob("*/*/*.py")]
    code = "\n".join(path.read_text("utf-8") for path in sources)
    events = set(re.findall(r"`([a-z_.]+)`", told)) - {"attend", "reason"}
    assert [event for event in sorted(events) if f'"{event}"' not in code] == []


def test_every_metric_is_described() -> None:
    """Operators find each metric by its name."""
    assert missing(_samples(Telemetry()), "docs/operations.md") == []


def _samples(telemetry: Telemetry) -> set[str]:
    kinds = {metric.name: metric.type for metric in telemetry.registry.collect()}
    return {f"{name}_total" if kind == "counter" else name for name, kind in kinds.items()}


def test_every_endpoint_is_described() -> None:
    """Operators find each path of the service."""
    from voki_bots.service.api import application

    served: Any = SimpleNamespace(settings=SimpleNamespace(service=ServiceSettings()))
    app = application(served, Telemetry(), access=Access(None))
    paths = {route.path for route in app.routes if hasattr(route, "path")}
    text = page("docs/operations.md")
    assert sorted(path for path in paths if f"`{path}`" not in text) == []


def test_every_exit_code_is_described() -> None:
    """Operators find what each exit code means."""
    from voki_bots.cli.ending import ExitCode

    table = page("docs/operations.md").partition("## Exit codes")[2].partition("## Signals")[0]
    assert [code for code in ExitCode if f"| {int(code)} |" not in table] == []


def test_every_fault_is_described() -> None:
    """Authors of plugins find what they can let go wrong."""
    assert missing(FAULTS, "docs/plugins.md") == []


# ---------------------------------------------------------------- pages


@pytest.mark.parametrize(("path", "target"), list(links()))
def test_links_lead_somewhere(path: Path, target: str) -> None:
    """A relative link names a file that exists, and a heading that it has."""
    name, _, anchor = target.partition("#")
    there = (path.parent / name).resolve() if name else path
    assert there.exists()
    assert not anchor or anchor in anchors(there)


@pytest.mark.parametrize("text", list(blocks("python")))
def test_python_blocks_are_python(text: str) -> None:
    """A block parses, and what it imports of ours exists."""
    tree = ast.parse(text)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    ours = [node for node in imports if str(node.module).startswith("voki_bots")]
    for node in ours:
        module = import_module(str(node.module))
        assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("text", list(blocks("toml")))
def test_toml_blocks_are_valid(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block parses; one with bots in it is a configuration, but for the account."""
    tables = tomllib.loads(text)
    if "bots" in tables:
        for name, value in {
            "URL": "https://voki.example",
            "TENANT": "acme",
            "EMAIL": "b@acme.example",
        }.items():
            monkeypatch.setenv(f"VOKI_{name}", value)
        monkeypatch.syspath_prepend(ROOT / "examples" / "packaged_plugin")
        plugin = import_module("voki_bots_dead_air").DeadAir
        file = tmp_path / "bots.toml"
        file.write_text(text, "utf-8")
        assert settings.load(file, registry=Registry({"dead_air": plugin})).bots
        sys.modules.pop("voki_bots_dead_air")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_exist(name: str) -> None:
    """Whatever a page asks make for is in the Makefile."""
    named: set[str] = set()
    for piece in re.findall(r"```.*?```|`[^`\n]+`", page(name), re.DOTALL):
        named |= set(re.findall(r"\bmake ([a-z]+)", piece))
    assert named - set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE)) == set()


def test_the_first_bot_of_the_readme_works(tmp_path: Path) -> None:
    """The ten lines make a bot, whose plugins can be made."""
    (text,) = re.findall(r"```python\n(.*?)```", page("README.md"), re.DOTALL)
    file = tmp_path / "bot.py"
    file.write_text(text, "utf-8")
    (bot,) = load_bots(file)
    assert [plugin.name for plugin in bot.plugins(Registry())] == ["recorder", "handlers"]


# ---------------------------------------------------------------- examples


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_is_tried(path: Path) -> None:
    """Each file is named by a test of the examples, or is such a test."""
    tests = "\n".join(test.read_text("utf-8") for test in (ROOT / "tests" / "examples").glob("*.py"))
    assert path.name in tests


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if path.suffix == ".py"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_example_teaches(path: Path) -> None:
    """Each file begins by saying what it shows."""
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))
