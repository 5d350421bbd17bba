"""Greet everybody: play a prompt to the call when the customer comes.

Only a bot that is made with `speaks=True` has a sender; any other is refused by its gate. A `Prompt` is made
once, from a file or from samples as here, and shared by all calls. `say` waits until it can be heard, and
resolves when the last sample was sent. What was said is in the recording, as a track of the bot's own.

::

    voki-bots demo examples/greet_everybody.py
"""

import numpy as np

from voki_bots import Attendance, Bot, Participant, Prompt, SupervisionError


def chime() -> Prompt:
    """Two tones, as a doorbell; a greeting would be `Prompt.from_file("hello.wav")`."""
    at = np.arange(24_000) / 48_000
    notes = [np.sin(2 * np.pi * hertz * at) * np.exp(-4 * at) for hertz in (880.0, 660.0)]
    return Prompt.from_pcm((8_000 * np.concatenate(notes)).astype(np.int16), name="chime")


CHIME = chime()
bot = Bot("greeter", speaks=True).record()


@bot.on_join(role="customer")
async def greet(call: Attendance, who: Participant) -> None:
    """Ring, and keep in the journal what became of it."""
    try:
        seconds = await call.say(CHIME)
    except SupervisionError as refused:
        call.journal("not_greeted", why=refused.why)
    else:
        call.journal("greeted", who=who.name, seconds=round(seconds, 2))


if __name__ == "__main__":
    bot.run()
