"""Captions: everybody's words on the terminal, as they say them.

::

    voki-bots demo examples/captions.py
"""

from voki_bots import Attendance, Bot, UtteranceHeard

bot = Bot("captions").transcribe(language="ko", warm=0)


@bot.on_final()
async def show(call: Attendance, line: UtteranceHeard) -> None:
    print(f"{line.start:7.2f} {line.name or line.role}: {line.text}")


if __name__ == "__main__":
    bot.run()
