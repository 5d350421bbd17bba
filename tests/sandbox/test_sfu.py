"""Who hears what through the SFU, judged by a peer made of aiohttp and aiortc alone."""

ANA = {"name": "Ana", "role": "attendant", "speech": "pt"}
CARLOS = {"name": "Carlos", "role": "customer", "speech": "pt"}


async def test_a_bot_receives_what_a_person_sent(world):
    """The packets that arrive decode to the very sound the person sent."""
    await world.start()
    call = await world.make(ANA)
    bot = await world.bot()
    await bot.offer()
    await bot.hears(150)
    sent = world.decode_file(
        await world.control("GET", f"/calls/{call['call_id']}/people/{call['people'][0]['id']}/sent")
    )
    (packets,) = bot.heard.values()
    assert world.correlation(world.decode([(p.timestamp, p.payload) for p in packets]), sent) > 0.9
