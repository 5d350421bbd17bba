"""The TURN servers that the sandbox names, and credentials that a real one takes."""

import base64
import hashlib
import hmac

import pytest

from voki_bots.errors import ConfigurationError
from voki_bots.sandbox.turn import TurnAccess


def test_credentials_are_those_of_the_rest_api_of_turn_servers():
    """The username begins with its end in unix seconds, the password is its HMAC-SHA1 by the secret."""
    made = TurnAccess(("turn:relay.test",), 60, "shared").credentials("ana", 1000.9)
    digest = base64.b64encode(hmac.digest(b"shared", b"1060:ana", hashlib.sha1)).decode()
    assert (made["username"], made["credential"], made["ttl"]) == ("1060:ana", digest, 60)


@pytest.mark.parametrize("body", [{"urls": "turn:x"}, {"urls": [1]}, {"life": "60"}, {"secret": None}])
def test_nonsense_is_refused(body):
    """Each field has its type."""
    with pytest.raises(ConfigurationError):
        TurnAccess((), 60, "shared").change(body)


async def test_servers_are_named_while_it_runs(world):
    """A test that has a TURN server tells the sandbox of it."""
    await world.start()
    await world.control("PUT", "/turn", urls=["turn:relay.test:3478"], life=60)
    data = (await world.api("GET", "/api/v1/turn/credentials"))["data"]
    assert (data["urls"], data["ttl"]) == (["turn:relay.test:3478"], 60)
