"""The pytest plugin of the testing kit: what a plugin's tests get by installing `voki-bots`.

pytest imports this module at every start, so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from voki_bots.testing.sim import SandboxProcess, Sim


@pytest.fixture(scope="session")
def voki_sandbox() -> Iterator[SandboxProcess]:
    """A whole Voki on loopback, in a process of its own, shared by the tests of one run."""
    from voki_bots.testing.sim import SandboxProcess

    with SandboxProcess() as sandbox:
        yield sandbox


@pytest.fixture
async def sim(voki_sandbox: SandboxProcess, tmp_path: Path) -> AsyncIterator[Sim]:
    """Calls in the sandbox; recordings go below ``tmp_path``.

    Example::

        async def test_my_bot(sim):
            call = await sim.call("attendant", "customer")
            async with sim.attend(call, Bot("mine").record()) as session:
                await call.heard_by_bots(packets=100)
    """
    from voki_bots.testing.sim import Sim

    async with Sim(voki_sandbox, tmp_path) as running:
        yield running
