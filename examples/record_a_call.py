"""Record a call: the smallest bot that is of use.

A bot is a list of plugins, and `bot.record()` puts the recorder on it. For each call the recorder writes one
Ogg/Opus file for each participant, the packets as they came: no decoder runs, and every voice stays on a
track of its own. The files lie in ``recordings/<tenant>/<call>/tracks/``; ``call.json`` beside them says who
is on which track, and where and why audio is missing.

Try it on a call in the sandbox, or run it on your platform::

    voki-bots demo examples/record_a_call.py
    VOKI_URL=… VOKI_TENANT=… VOKI_EMAIL=… VOKI_PASSWORD=… python examples/record_a_call.py
"""

from voki_bots import Bot, Rule

bot = Bot("minutes", join=Rule(on="assigned"))
bot.record()

if __name__ == "__main__":
    bot.run()
