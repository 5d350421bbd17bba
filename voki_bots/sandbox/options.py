"""Everything that can be chosen about a sandbox. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from ..errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """How kind, and how strange, the platform is in one call.

    Every kindness is off by default: what Voki's documents do not promise, a bot does not get. Where they are
    silent about media, the SFU does as a measured one in Elixir (ex_webrtc): `rsa_certificate`,
    `waits_for_end` and `reject_lines` are on.

    Attributes:
        snapshot: The join reply lists the ``participants`` already present.
        msid_user_ids: The stream id in ``a=msid`` is the publisher's user id, not a random one.
        announce_self: A bot's own ``participant_joined`` reaches the bot too.
        reply_bodies: Replies to pushes and joins carry a body, not an empty map.
        silent_pushes: Ordinary pushes get no reply at all.
        close_on_end: ``phx_close`` follows ``call_ended``; else the topic just goes quiet.
        join_while_queued: A call nobody was assigned to may be joined.
        anonymous_customers: ``participant_joined`` of a customer has ``user_id`` null (open question Q26).
        server_offers: The SFU offers first, and waits for our answer.
        own_line: The SFU may send the first publisher's audio on the line we offered.
        reuse_lines: A line that became inactive carries the next publisher, with the same SSRC.
        reject_lines: A line that became idle is rejected (port 0) and leaves the bundle. Once the client has
            rejected it too, the next publisher gets it under a new mid; else lines only become more.
        new_ssrc: A line that is used again has another SSRC than before.
        no_ssrc: Descriptions name no SSRC; packets tell their line by MID alone.
        no_msid: Descriptions name no stream.
        padding: Share of forwarded packets that a padding-only packet follows, 0 to 1.
        mixed_only: A bot hears everybody on one line, mixed.
        video: The SFU offers a line of video beside those of audio; no picture is ever sent on it.
        client_offers: The SFU never offers; whoever wants more lines must offer them.
        waits_for_end: As offerer the SFU uses a bot's candidates only after their end, or after 10 s.
        glare: A bot's first offer crosses one of the SFU's, and is ignored.
        insists_on_video: An offer without a line of video is not answered.
        insists_on_sending: An offer that sends nothing is answered with lines that carry nothing.
        audio_level: Packets carry the audio-level header extension (RFC 6464) where the publisher's do.
        rsa_certificate: The SFU's DTLS certificate is RSA-2048, as that of Elixir SFUs.
        supervise_by_rest: ``POST /api/v1/calls/:id/supervise`` with a mode takes it. Which way Voki has is
            not documented (open question Q29), so without a switch there is none.
        supervise_by_push: The event ``supervise`` on ``call:`` takes it.
        supervise_by_join: The parameter ``supervise`` of the join takes it.
        whisper_leaks: The customer hears who whispers.
        mode_lost: Whoever joins anew is heard by all, whatever was agreed before.
        no_start: Nothing tells the call that somebody supervises it.
        wrong_supervisor: It tells so of another supervisor.
        together: People join at once, not strictly one after another.
        join_delay: Seconds that the join of ``call:`` takes.
        lose: Share of forwarded packets that never arrive, 0 to 1.
    """

    snapshot: bool = False
    msid_user_ids: bool = False
    announce_self: bool = False
    reply_bodies: bool = False
    silent_pushes: bool = False
    close_on_end: bool = False
    join_while_queued: bool = False
    anonymous_customers: bool = False
    server_offers: bool = False
    own_line: bool = True
    reuse_lines: bool = False
    reject_lines: bool = True
    new_ssrc: bool = False
    no_ssrc: bool = False
    no_msid: bool = False
    padding: float = 0.0
    mixed_only: bool = False
    video: bool = False
    client_offers: bool = False
    waits_for_end: bool = True
    glare: bool = False
    insists_on_video: bool = False
    insists_on_sending: bool = False
    audio_level: bool = False
    rsa_certificate: bool = True
    supervise_by_rest: bool = False
    supervise_by_push: bool = False
    supervise_by_join: bool = False
    whisper_leaks: bool = False
    mode_lost: bool = False
    no_start: bool = False
    wrong_supervisor: bool = False
    together: bool = False
    join_delay: float = 0.0
    lose: float = 0.0

    def changed(self, values: Mapping[str, object]) -> Switches:
        """Return these switches with some set anew.

        Raises:
            ConfigurationError: A name is unknown, or a value is of the wrong type.
        """
        defaults = {f.name: f.default for f in fields(self)}
        accepted: dict[str, bool | float] = {}
        for name, value in values.items():
            if name not in defaults:
                known = ", ".join(defaults)
                raise ConfigurationError(f"no switch is called {name!r}; known: {known}", path=name)
            if isinstance(defaults[name], bool):
                if not isinstance(value, bool):
                    raise ConfigurationError(f"switch {name!r} is true or false, not {value!r}", path=name)
                accepted[name] = value
            elif isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigurationError(f"switch {name!r} is a number, not {value!r}", path=name)
            else:
                accepted[name] = float(value)
        return replace(self, **accepted)  # type: ignore[arg-type]  # types were checked by name above


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Where releases of Phoenix, and the web servers below it, differ on the wire.

    Attributes:
        disconnect_code: Close code of a socket that the application disconnects, as at the end of a token.
        crash_payload: What ``phx_error`` carries.
        takes_stale: A push with the join_ref of an earlier join reaches the channel that is joined now.
        token_protocol: The token may come as a subprotocol.
        idle_code: Close code of a socket from which nothing came for too long.
        max_frame: Bytes of the longest message that is taken; a longer one closes with 1009.
    """

    disconnect_code: int = 1001
    crash_payload: Mapping[str, str] = field(default_factory=lambda: {"reason": "channel_crash"})
    takes_stale: bool = False
    token_protocol: bool = True
    idle_code: int = 1002
    max_frame: int = 8 * 1024 * 1024


RELEASES = {
    "1.7": Dialect(disconnect_code=1000, crash_payload={}, takes_stale=True, token_protocol=False),
    "1.8": Dialect(),
}
"""What is spoken by Phoenix 1.7.24 and by 1.8.12, each on Bandit."""

ADAPTERS = {
    "bandit": (1002, 8 * 1024 * 1024),
    "cowboy": (1000, 1024 * 1024 - 1),  # 1 MiB is known to be too long for it
}
"""By web server, the `idle_code` and the `max_frame`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """How one sandbox is run.

    Attributes:
        host: Address to bind. Anything but loopback is your responsibility: there is no protection here.
        port: Port to bind; 0 takes a free one.
        tenant: The only tenant; `X-Tenant` must name it.
        email: Sign-in of the first bot user, a supervisor.
        password: Password of every user made without one of his own.
        access_life: Seconds that an access token lives (Voki: 900).
        refresh_life: Seconds that a refresh token lives (Voki: 7 days).
        rotate_refresh: Each refresh gives a new refresh token and ends the old one.
        auth_limit: Requests a minute to ``/api/auth/*``, or None for no limit (Voki: 5).
        retry_after: A 429 says in ``Retry-After`` for how long.
        phoenix: The release of Phoenix whose ways the sockets have: one of `RELEASES`.
        adapter: The web server below it: one of `ADAPTERS`.
        expiry_code: Close code of a socket whose token ended, if not the release's own.
        idle_timeout: Seconds without a frame after which a socket is closed.
        conformance: Sockets with a token like ``user:ana`` get test channels; for judging this server.
        leg_grace: Seconds that a media leg outlives the loss of its channel.
        join_spacing: Seconds between one person's media being connected and the next one's join.
        turn_urls: What the TURN endpoints list; there is no TURN server on loopback.
        turn_life: The ``ttl`` that the TURN endpoints give, in seconds.
        turn_secret: What a real TURN server shares with the sandbox, or None for a random one.
        default_call: A call with an attendant and a customer waits for the first bot.
        language: What the people of the default call speak: ``pt`` or ``en``.
        seed: Seed of every random choice; None takes one from the system.
        switches: What calls start with.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tenant: str = "sandbox"
    email: str = "bot@sandbox.test"
    password: str = field(default="sandbox-password", repr=False)
    access_life: float = 900.0
    refresh_life: float = 7 * 86_400.0
    rotate_refresh: bool = False
    auth_limit: int | None = None
    retry_after: bool = False
    phoenix: str = "1.8"
    adapter: str = "bandit"
    expiry_code: int | None = None
    idle_timeout: float = 60.0
    conformance: bool = False
    leg_grace: float = 30.0
    join_spacing: float = 1.0
    turn_urls: tuple[str, ...] = ()
    turn_life: int = 86_400
    turn_secret: str | None = field(default=None, repr=False)
    default_call: bool = True
    language: str = "pt"
    seed: int | None = None
    switches: Switches = field(default_factory=Switches)

    @property
    def dialect(self) -> Dialect:
        """What the sockets speak.

        Raises:
            ConfigurationError: There is no such release or adapter.
        """
        if self.phoenix not in RELEASES:
            raise ConfigurationError(
                f"phoenix is one of {', '.join(RELEASES)}, not {self.phoenix!r}", path="phoenix"
            )
        if self.adapter not in ADAPTERS:
            raise ConfigurationError(
                f"adapter is one of {', '.join(ADAPTERS)}, not {self.adapter!r}", path="adapter"
            )
        idle_code, max_frame = ADAPTERS[self.adapter]
        chosen = replace(RELEASES[self.phoenix], idle_code=idle_code, max_frame=max_frame)
        return chosen if self.expiry_code is None else replace(chosen, disconnect_code=self.expiry_code)
