"""Two ends that have no route to each other, and coturn between them.

::

    bot 10.77.1.2 ──── 10.77.1.1 relay 10.77.2.1 ──── 10.77.2.2 sandbox and its SFU

Nothing is forwarded but the TCP of the sandbox's port, so that there is signalling. The tests run in the
bot's namespace.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.oracles.places import Namespace, answers, end, needs, needs_namespaces, program
from tests.oracles.turn.certificates import make_certificates
from voki_bots import Bot
from voki_bots.bots.session import CallSession
from voki_bots.media.peer import IceServer
from voki_bots.testing.sim import SandboxProcess, Sim, SimCall

RELAY, BOT = "10.77.1.1", "10.77.1.2"
RELAY_INSIDE, SFU = "10.77.2.1", "10.77.2.2"
SECRET = "shared-with-coturn"
UDP = f"turn:{RELAY}:3478?transport=udp"
TCP = f"turn:{RELAY}:3478?transport=tcp"
TLS = f"turns:{RELAY}:5349?transport=tcp"
DROPPED = f"turn:{RELAY}:3999?transport=udp"
REFUSED = f"turn:{RELAY}:3998?transport=tcp"


class Office:
    """The three places, the sandbox in its own, and certificates for TURN over TLS."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        needs_namespaces()
        needs("turnserver")
        self.directory = directory
        self.bot, self.relay, self.sfu = (stack.enter_context(Namespace()) for _ in range(3))
        self.relay.link(self.bot, "inner", f"{RELAY}/24", f"{BOT}/24")
        self.relay.link(self.sfu, "outer", f"{RELAY_INSIDE}/24", f"{SFU}/24")
        self.authority, self.certificate, self.key = make_certificates(directory, RELAY)
        with self.sfu.inside():
            arguments = ["--host", SFU, "--no-call", "--turn-secret", SECRET]
            self.sandbox = stack.enter_context(SandboxProcess(arguments))
        port = self.sandbox.url.rpartition(":")[2]
        for name in ("url", "control"):  # as it is reached from where the bot is
            self.sandbox.ready[name] = self.sandbox.ready[name].replace(SFU, RELAY)
        with self.relay.inside():
            script = [sys.executable, str(Path(__file__).parent / "forward.py"), RELAY, port, SFU]
            forwarding = subprocess.Popen(script, stdin=-1, stdout=-1)
        stack.callback(_close, forwarding)
        assert forwarding.stdout is not None
        forwarding.stdout.readline()

    @contextmanager
    def coturn(self, port: int, *options: str, tls: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Run coturn with time-limited credentials, until it answers."""
        log = self.directory / f"coturn-{port}.log"
        secure = ["--no-tls"]
        if tls is not None:
            secure = ["--tls-listening-port", str(tls), "--cert", str(self.certificate)]
            secure += ["--pkey", str(self.key)]
        command = ["turnserver", "-n", "-L", RELAY, "-E", RELAY_INSIDE, "-p", str(port), *secure]
        command += ["--no-dtls", "--no-cli", "--realm", "voki.test", "--use-auth-secret"]
        command += ["--static-auth-secret", SECRET, "--fingerprint", *options]
        command += ["--log-file", str(log), "--simple-log", "--pidfile", str(self.directory / f"{port}.pid")]
        command += [
            "--userdb",
            str(self.directory / f"{port}.db"),
            "--min-port",
            "50000",
            "--max-port",
            "50999",
        ]
        with ExitStack() as stack:
            with self.relay.inside():
                process = stack.enter_context(program(command))
                answers(RELAY, port, process, log)
            yield process


def _close(process: subprocess.Popen[bytes]) -> None:
    end(process)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def server(url: str, *, secret: str = SECRET, life: int = 600) -> IceServer:
    """A TURN server with credentials as the platform would make them."""
    username = f"{int(time.time()) + life}:bot"
    digest = hmac.digest(secret.encode(), username.encode(), hashlib.sha1)
    return IceServer((url,), username, base64.b64encode(digest).decode())


class Calls:
    """Calls of a bot that has no way to the SFU but the relay."""

    def __init__(self, office: Office, sim: Sim) -> None:
        self.office = office
        self.sim = sim

    async def turn(self, *urls: str, life: int = 600) -> int:
        """Let the platform name these servers; tells how often credentials were asked for."""
        told = await self.sim.control("PUT", "/turn", {"urls": list(urls), "life": life})
        return int(told["asked"])

    @asynccontextmanager
    async def attend(
        self, *people: Mapping[str, object], relay_only: bool = False, speaks: bool = False
    ) -> AsyncIterator[tuple[SimCall, CallSession]]:
        """A call that a bot records, and in which it may speak."""
        call = await self.sim.call(*people)
        user = replace(await self.sim.user(), loopback=False, relay_only=relay_only)
        async with (
            self.sim.account(user) as account,
            self.sim.attend(call, Bot("minutes", speaks=speaks).record(), account=account) as session,
        ):
            yield call, session


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """The three places and the sandbox."""
    with ExitStack() as stack:
        yield Office(stack, tmp_path_factory.mktemp("turn"))


@pytest.fixture(scope="module")
def coturn(office: Office) -> Iterator[None]:
    """One TURN server for most tests: UDP, TCP and TLS. A port beside it takes UDP and never answers."""
    with office.relay.inside():
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with silent, office.coturn(3478, tls=5349):
        silent.bind((RELAY, 3999))
        yield


@pytest.fixture
def at_the_bot(office: Office) -> Iterator[Office]:
    """This thread is where the bot is."""
    with office.bot.inside():
        yield office


@pytest.fixture
async def calls(at_the_bot: Office, tmp_path: Path) -> AsyncIterator[Calls]:
    """Calls in the sandbox, seen from where the bot is."""
    async with Sim(at_the_bot.sandbox, tmp_path) as sim:
        yield Calls(at_the_bot, sim)
