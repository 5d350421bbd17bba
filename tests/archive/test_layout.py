"""Hostile ids never leave the archive, and never meet."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voki_bots.archive.layout import (
    archive_of,
    call_directory,
    make_directory,
    problem_with_template,
    safe_name,
    split_template,
    write_aside,
)
from voki_bots.errors import FileWriteError

HOSTILE = [
    "../../x",
    "x" * 5000,
    "a\nb",
    "a\0b",
    ".",
    "..",
    "",
    "/etc",
    "ação",
    "\ud800",
    "~root",
    "-rf",
    "a.",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_id_is_two_levels_below_the_root(text: str) -> None:
    """Whatever tenant and call are called, the folder is `root/<one name>/<one name>`."""
    directory = call_directory(Path("/srv/archive"), text, text)
    assert Path(os.path.normpath(directory)).parent.parent == Path("/srv/archive")


@given(st.text(st.characters(codec=None)))
@example("CON")
def test_a_name_is_short_plain_ascii(text: str) -> None:
    """A name has at most 120 bytes, no separator and no control character, and is no dot."""
    name = safe_name(text)
    assert 1 <= len(name.encode("ascii")) <= 120
    assert name.isprintable()
    assert not set(name) & set('/\\ :*?"<>|')
    assert name[0] not in ".-~"


@given(st.text(max_size=8), st.text(max_size=8))
@example("Call", "call")
@example("a/b", "a-b")
@example("é", "e\u0301")
@example("a" * 99, "a" * 100)
def test_different_ids_have_different_names(one: str, other: str) -> None:
    """Two ids share a name only if they are the same, even where case does not count."""
    assert (safe_name(one).lower() == safe_name(other).lower()) == (one == other)


def test_an_ordinary_id_stays_readable() -> None:
    """A UUID in lower case is its own name."""
    assert safe_name("0b8e2b5e-5f0d-4a53-9a57-1f6f3d2c9a11") == "0b8e2b5e-5f0d-4a53-9a57-1f6f3d2c9a11"


def test_folders_are_private(tmp_path: Path) -> None:
    """Every level that had to be made is 0700."""
    make_directory(tmp_path / "a/b/c")
    assert {oct((tmp_path / each).stat().st_mode & 0o777) for each in ("a", "a/b", "a/b/c")} == {"0o700"}


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """A folder that cannot be made is an error that names the path."""
    (tmp_path / "a").touch()
    with pytest.raises(FileWriteError, match=r"cannot write .*a/b"):
        make_directory(tmp_path / "a/b")


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    """Writing aside leaves the new content, 0600, and nothing beside it."""
    for content in (b"one", b"two"):
        write_aside(tmp_path / "x", content, durable=True)
    assert [(path.name, path.read_bytes(), path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [
        ("x", b"two", 0o600)
    ]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{tenant}/{date}/{call}", None),
        ("calls/{tenant}-{bot}/{call}", None),
        ("{tenant}/{caller}", "{caller} is no placeholder; there are {tenant}, {call}, {date}, {bot}"),
        ("{tenant}/{date}", "must hold {call}"),
        ("{call}", "must hold {tenant}"),
        ("{tenant}/../{call}", "'..' is no name of a folder"),
        ("{tenant}//{call}", "'' is no name of a folder"),
        ("{tenant}/{call", "must hold {call}"),
        ("{tenant}/a b/{call}", "'a b' is no name of a folder"),
        ("{tenant}{call}{bot}", "too long"),
    ],
)
def test_templates_are_checked(template: str, problem: str | None) -> None:
    """A template that could mix calls up or leave the archive is refused, with the reason."""
    found = problem_with_template(template)
    assert found is None if problem is None else problem in (found or "")


def test_a_template_names_the_folder() -> None:
    """Placeholders become safe names; what stands before the first is the root."""
    root = Path("/srv/calls/{tenant}/{date}/{call}")
    assert call_directory(root, "acme", "../x", date="2030-01-31").parent == Path(
        "/srv/calls/acme/2030-01-31"
    )
    assert split_template(root) == (Path("/srv/calls"), "{tenant}/{date}/{call}")


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (None, "base"),
        ("{tenant}/{call}", "base/{tenant}/{call}"),
        ("/own/{call}", "/own/{call}"),
        ("own", "own"),
    ],
)
def test_a_template_alone_is_below_the_configured_directory(wanted: str | None, chosen: str) -> None:
    """Any other wish of a plugin goes before the setting."""
    assert archive_of(None if wanted is None else Path(wanted), Path("base")) == Path(chosen)
