"""What can be chosen about a sandbox."""

import pytest

from voki_bots.errors import ConfigurationError
from voki_bots.sandbox.options import SandboxOptions


@pytest.mark.parametrize("options", [{"phoenix": "2.0"}, {"adapter": "nginx"}])
def test_an_unknown_release_or_server_is_refused(options):
    """The mistake names its option."""
    with pytest.raises(ConfigurationError) as caught:
        assert SandboxOptions(**options).dialect
    assert caught.value.path == next(iter(options))


def test_a_close_code_of_ones_own_wins():
    """It replaces the release's own."""
    assert SandboxOptions(phoenix="1.7", expiry_code=4001).dialect.disconnect_code == 4001
