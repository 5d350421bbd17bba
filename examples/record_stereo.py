"""Record a call in stereo: attendants left, customers right, whoever joined first.

While the call runs every voice is written to a track of its own. When it is over those tracks become
``stereo.flac`` with the sides chosen here by role, and ``participants/`` with a file for everybody, each as
long as the call. What nobody asked for is not made: there is no mix. The folder is named by tenant, day and
call, and the call may be purged after ninety days.

Try it on a call in the sandbox, or run it on your platform::

    voki-bots demo examples/record_stereo.py
    VOKI_URL=… VOKI_TENANT=… VOKI_EMAIL=… VOKI_PASSWORD=… python examples/record_stereo.py
"""

from voki_bots import Bot, Rule

bot = Bot("minutes", join=Rule(on="assigned"))
bot.record(
    stereo=("attendant", "customer"),
    mix=False,
    format="flac",
    name="{tenant}/{date}/{call}",
    keep="90d",
)

if __name__ == "__main__":
    bot.run()
