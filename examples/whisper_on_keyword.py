"""Whisper on keyword: the attendant is told what to offer as soon as the customer says a word.

Other plugins ask for a whisper by an event, and the plugin `supervisor` sees to it. Here it is a hint on the
attendant's screen, which cannot leak. To have it said aloud, to the attendant alone, give the plugin a voice,
an account of its own and the way in which the platform is asked::

    bot.use(
        "supervisor",
        whispers="aloud",
        voice="espeak-ng:pt-br",
        login={"email": "coach@acme.example", "password_file": "/run/secrets/coach"},
        strategy={"by": "rest", "path": "/api/v1/calls/{call}/supervise"},
    )

::

    voki-bots demo examples/whisper_on_keyword.py
"""

from voki_bots_supervisor import WhisperAsked

from voki_bots import Attendance, Bot, UtteranceHeard

bot = Bot("coach").transcribe(language="ko", warm=0).use("supervisor", told_by="hint")


@bot.on_final(
    role="customer", contains="인터넷이"
)  # internet; the only model that installs by name is Korean
async def coach(call: Attendance, line: UtteranceHeard) -> None:
    """Say what to do, and when."""
    call.publish(WhisperAsked(f"{line.name} has trouble with the internet: offer the line test.", by="coach"))


if __name__ == "__main__":
    bot.run()
