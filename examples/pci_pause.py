"""PCI pause: nothing of a card number reaches a recording.

The attendant's payment page tells the bot when a card is being entered. Here `PaymentDesk` stands for that
page: it publishes `CardEntryStarted` and `CardEntryEnded`, as a plugin does that hears it from a queue, a
webhook or a digit. It knows nothing of recordings.

What follows is a `Watch`: while a card is being entered the call is paused. No file, transcript or listener
gets anything, the span is a gap `masked`, and the journal says who paused, when and why. Should the page
forget to say that it is done, the pause ends by itself after three minutes; nobody has to remember it. A lost
connection or a crash does not end it.

In a TOML file the same watch is::

    [[bots.watch]]
    on = "CardEntryStarted"
    until = "CardEntryEnded"
    seconds = 180.0
    reason = "card"

::

    voki-bots demo examples/pci_pause.py
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import Field

from voki_bots import Attendance, Bot, Plugin, PluginEvent, PluginSettings, Watch


@dataclass(frozen=True, slots=True)
class CardEntryStarted(PluginEvent):
    """Somebody begins to enter a card; the number itself never comes here."""


@dataclass(frozen=True, slots=True)
class CardEntryEnded(PluginEvent):
    """The card was taken, or the attempt given up."""


class PaymentDeskSettings(PluginSettings):
    """When a card is entered, in a demonstration; a real desk is told by its payment page."""

    after: float = Field(default=2.0, gt=0, description="seconds into the call")
    seconds: float = Field(default=2.0, gt=0, description="how long it takes")


class PaymentDesk(Plugin[PaymentDeskSettings]):
    """Tell the other plugins while a card is being entered."""

    @asynccontextmanager
    async def attend(self, call: Attendance) -> AsyncIterator[None]:
        """Take one card in each call."""
        call.start_soon(self._take_a_card(call))
        yield

    async def _take_a_card(self, call: Attendance) -> None:
        await asyncio.sleep(self.settings.after)
        call.publish(CardEntryStarted())
        await asyncio.sleep(self.settings.seconds)
        call.publish(CardEntryEnded())


bot = Bot(
    "minutes",
    watch=[Watch(on="CardEntryStarted", until="CardEntryEnded", seconds=180.0, reason="card")],
)
bot.use(PaymentDesk, after=2.0, seconds=2.0).record()

if __name__ == "__main__":
    bot.run()
