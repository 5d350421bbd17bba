"""Hint on join: tell the attendant something when the customer comes.

A decorated function is called beside the call. `on_join` calls it once for each participant, those who were
there before the bot included. A hint is a text for somebody's screen: it is an event (`HintGiven`) for the
journal and for other plugins, and it never enters the call's channel, so the customer cannot see it.

::

    voki-bots demo examples/hint_on_join.py
"""

from voki_bots import Attendance, Bot, Participant

bot = Bot("concierge")


@bot.on_join(role="customer")
async def welcome(call: Attendance, who: Participant) -> None:
    """Tell the attendant who came, and since when the bot has been listening."""
    await call.hint(f"{who.name} is here, {call.now:.0f} s into the call.", to="attendant")


@bot.on_end()
async def goodbye(call: Attendance, reason: str) -> None:
    """Keep a line of our own in the call's journal."""
    call.journal("concierge_left", reason=reason)


if __name__ == "__main__":
    bot.run()
