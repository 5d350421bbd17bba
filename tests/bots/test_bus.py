"""What happens in a call, told to everybody who listens."""

import asyncio

import pytest

from voki_bots.bots.bus import CAPACITY, Bus
from voki_bots.calls import MediaConnected
from voki_bots.errors import PluginError


async def test_everybody_hears_everything_in_order() -> None:
    """Two listeners hear the same events in the order of publishing, then the end."""
    bus = Bus()
    one, two = bus.events("one"), bus.events("two")
    for segment in range(3):
        bus.publish(MediaConnected(segment))
    bus.close()
    heard = [[event async for event in events] for events in (one, two)]
    assert heard == [[MediaConnected(n) for n in range(3)]] * 2


async def test_35_listeners_may_come_and_go_at_any_time() -> None:
    """One that comes while others listen hears what follows; one that stops listening harms nobody."""
    bus = Bus()
    early, gone = bus.events("early"), bus.events("gone")
    bus.publish(MediaConnected(0))
    await anext(gone)
    late = bus.events("late")
    bus.publish(MediaConnected(1))
    bus.close()
    heard = [[event async for event in events] for events in (early, late)]
    assert heard == [[MediaConnected(0), MediaConnected(1)], [MediaConnected(1)]]


async def test_nothing_is_missed_before_iterating() -> None:
    """Hearing begins with the call of `events`, not with the first step of the loop."""
    bus = Bus()
    events = bus.events("one")
    bus.publish(MediaConnected(7))
    assert await anext(events) == MediaConnected(7)


async def test_whoever_falls_behind_is_told() -> None:
    """A listener that lags too far gets what it has and then an error; the others lose nothing."""
    bus = Bus()
    slow = bus.events("slow")
    for segment in range(CAPACITY + 1):
        bus.publish(MediaConnected(segment))
    for segment in range(CAPACITY):
        assert await anext(slow) == MediaConnected(segment)
    with pytest.raises(PluginError, match="slow fell 1000 events behind"):
        await anext(slow)


async def test_a_waiting_listener_is_woken_by_the_end() -> None:
    """Closing ends an iteration that is waiting."""
    bus = Bus()
    events = bus.events("one")
    waiting = asyncio.ensure_future(anext(events, None))
    await asyncio.sleep(0)
    bus.close()
    assert await waiting is None


async def test_after_the_end_there_is_nothing_to_hear() -> None:
    """A listener made after the end ends at once."""
    bus = Bus()
    bus.close()
    assert [event async for event in bus.events("late")] == []
