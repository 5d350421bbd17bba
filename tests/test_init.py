"""The front door: what is public, and what opening it costs."""

import subprocess
import sys

import pytest

import voki_bots
import voki_bots.testing


@pytest.mark.parametrize("module", [voki_bots, voki_bots.testing])
def test_every_public_name_can_be_had(module: object) -> None:
    """What `__all__` lists is listed once, sorted, and is there."""
    names = module.__all__  # type: ignore[attr-defined]
    assert names == sorted(set(names))
    assert all(getattr(module, name) is not None for name in names)


@pytest.mark.parametrize("module", [voki_bots, voki_bots.testing])
def test_a_wrong_name_is_an_attribute_error(module: object) -> None:
    """A name that is not public is told as for any other module."""
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = module.Nonsense  # type: ignore[attr-defined]


@pytest.mark.parametrize("module", ["voki_bots", "voki_bots.testing", "voki_bots.testing.fixtures"])
def test_importing_costs_next_to_nothing(module: str) -> None:
    """No heavy library is loaded before a name that needs it is used."""
    heavy = "{'numpy', 'av', 'aiortc', 'aioice', 'pydantic', 'httpx', 'websockets', 'fastapi', 'asyncio'}"
    script = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.strip("[]\n").replace("'", "").split(", "))
    assert loaded <= ({"", "asyncio"} if "fixtures" in module else {""})
