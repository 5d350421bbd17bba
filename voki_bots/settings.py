"""Typed settings from TOML and the environment; the only reader of either.

A file is validated as a whole: every problem is reported with its path before anything connects. Secrets come
from the environment or from files of their own, never from the TOML file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from voki_bots.bots.bot import Bot
from voki_bots.bots.consent import ConsentPolicy
from voki_bots.bots.login import Login, secret_in
from voki_bots.bots.plugin import Plugin
from voki_bots.bots.registry import Registry, problems
from voki_bots.bots.rule import Rule
from voki_bots.bots.watch import Watch
from voki_bots.errors import ConfigurationError

if TYPE_CHECKING:
    from voki_bots.bots.account import Credentials
    from voki_bots.bots.profile import CapabilityProfile
    from voki_bots.bots.supervision import SupervisionStrategy

_SECRETS = ("password", "totp_secret", "webhook_secret", "control_token", "delivery_secret")

TABLES = {"voki", "service", "archive", "consent", "supervision", "probe", "bots"}
"""The tables of a file; each command reads those that it needs."""

SHORTEST_TOKEN = 16
"""Characters that a control token has at least."""


class VokiSettings(BaseSettings):
    """The platform and our account there: table ``[voki]``, or VOKI_… in the environment."""

    model_config = SettingsConfigDict(env_prefix="VOKI_", extra="forbid", frozen=True)

    url: str = Field(description="where the platform is, for example https://voki.example")
    tenant: str = Field(min_length=1, description="the tenant's slug, sent as X-Tenant")
    email: str = Field(min_length=3, description="the account of the bots; never a human's")
    password: SecretStr | None = Field(default=None, description="only by VOKI_PASSWORD")
    password_file: Path | None = Field(default=None, description="a file that holds the password")
    totp_secret: SecretStr | None = Field(default=None, description="only by VOKI_TOTP_SECRET, with MFA")
    socket_url: str | None = Field(default=None, description="the websocket, if not <url>/socket/websocket")
    token_file: Path | None = Field(default=None, description="keeps the refresh token over restarts (0600)")
    presence: tuple[str, ...] = Field(
        default=(), description="departments whose presence is followed; joining may show the bot as an agent"
    )
    relay_only: bool = Field(default=False, description="media only through TURN")
    turn_hosts: tuple[str, ...] = Field(
        default=(), description="hosts beside the platform's own whose TURN servers may be used"
    )
    webhook_secret: SecretStr | None = Field(
        default=None, description="only by VOKI_WEBHOOK_SECRET: the secret of Voki's webhooks"
    )

    control_token: SecretStr | None = Field(
        default=None, description="only by VOKI_CONTROL_TOKEN: who has it may pause and resume calls"
    )

    delivery_secret: SecretStr | None = Field(
        default=None, description="only by VOKI_DELIVERY_SECRET: signs the webhooks that we send"
    )

    @field_validator("url")
    @classmethod
    def _absolute(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"must look like https://voki.example, got {value!r}")
        if parts.username or parts.password:
            raise ValueError("must not hold a user or password; use email and VOKI_PASSWORD")
        return value.rstrip("/")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file, so that one file serves several installations."""
        return env_settings, init_settings

    def secret(self) -> str:
        """The account's password.

        Raises:
            ConfigurationError: If there is none, or its file cannot be read.
        """
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is None:
            raise ConfigurationError(
                "voki.password: no password; set VOKI_PASSWORD or voki.password_file", path="voki.password"
            )
        return secret_in(self.password_file, "voki.password_file")

    @property
    def loopback(self) -> bool:
        """Whether the platform runs on this machine, so that media must gather 127.0.0.1 too."""
        return _loopback(urlsplit(self.url).hostname or "")


class DeliverySettings(BaseModel):
    """Somebody who is told what happens: an entry of ``[[service.deliver]]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="where webhooks are posted to; https, but for this machine")
    events: tuple[str, ...] = Field(
        default=(
            "UtteranceHeard",
            "HintGiven",
            "CallJoined",
            "CallLeft",
            "RecordingPaused",
            "RecordingResumed",
        ),
        min_length=1,
        description="classes of events that are sent; captions when they are final",
    )
    secret_file: Path | None = Field(
        default=None, description="a file that holds the secret which signs them, if not VOKI_DELIVERY_SECRET"
    )

    @field_validator("url")
    @classmethod
    def _safe(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise ValueError("must look like https://receiver.example/hook, without user or password")
        if parts.scheme == "http" and not _loopback(parts.hostname):
            raise ValueError("must be https: what people say is sent there")
        return value


class PersonSettings(BaseModel):
    """Somebody who may use the API and the console: an entry of ``[[service.access]]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64, description="who, as the audit and journals name them")
    role: Literal["viewer", "supervisor", "admin"] = Field(
        default="viewer", description="what they may: look, act in calls, or everything"
    )
    tenants: tuple[str, ...] = Field(default=(), description="whose calls they see; all if empty")
    token_file: Path = Field(description="a file that holds their token, of at least 16 characters")


class ProxySettings(BaseModel):
    """A reverse proxy that signs people in: table ``[service.proxy]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trusted: tuple[IPv4Network | IPv6Network, ...] = Field(
        min_length=1, description="its addresses or networks; nobody else's headers are believed"
    )
    user_header: str = Field(default="X-Forwarded-User", description="the header of the person's name")
    roles_header: str = Field(
        default="X-Forwarded-Groups", description="the header of roles or groups, with commas"
    )
    roles: Mapping[str, Literal["viewer", "supervisor", "admin"]] = Field(
        min_length=1, description="which of these gives which role; without one nobody is let in"
    )
    tenants_header: str = Field(
        default="", description="the header of tenants, with commas; all are seen if empty"
    )


class TlsSettings(BaseModel):
    """The service's own certificate: table ``[service.tls]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: Path = Field(description="a PEM file of the certificate and those that it needs")
    key: Path = Field(description="a PEM file of its private key")


class ServiceSettings(BaseModel):
    """How the service runs: table ``[service]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", description="where /livez, /readyz and /metrics are served")
    port: int = Field(default=8080, ge=0, le=65535, description="its port; 0 takes a free one")
    poll: float = Field(default=20.0, ge=0.2, description="seconds between two looks at the list of calls")
    drain: float = Field(default=30.0, ge=0, description="seconds that calls may take to end at SIGTERM")
    max_calls: int = Field(default=200, ge=1, description="calls that one process attends at most")
    disk_alert: float = Field(
        default=0.80, gt=0, le=1, description="the share of a disk from which on its filling is an error"
    )
    disk_full: float = Field(
        default=0.95, gt=0, le=1, description="the share from which on no call is begun; running ones go on"
    )
    webhook_secret_file: Path | None = Field(
        default=None,
        description="a file that holds the secret of Voki's webhooks; they are taken if it is set",
    )
    control_token_file: Path | None = Field(
        default=None, description="a file that holds the control token; calls can be paused if it is set"
    )
    deliver: tuple[DeliverySettings, ...] = Field(
        default=(), description="who is told what happens in calls, by webhook"
    )
    access: tuple[PersonSettings, ...] = Field(
        default=(), description="who may use the API and the console, beside the control token"
    )
    proxy: ProxySettings | None = Field(default=None, description="a reverse proxy that signs people in")
    tls: TlsSettings | None = Field(default=None, description="the service's own certificate")
    hosts: tuple[str, ...] = Field(
        default=(), description="names by which the service may be asked, beside those of this machine"
    )
    rate: float = Field(
        default=20.0, gt=0, description="requests that one person may make a second, in the long run"
    )
    console: bool = Field(default=False, description="whether the pages of the console are served")
    log: str = Field(default="json", pattern="^(json|console)$", description="json or console")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can ask."""
        return _loopback(self.host)


class ArchiveSettings(BaseModel):
    """Where calls are kept, if no plugin says otherwise: table ``[archive]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: Path = Field(default=Path("recordings"), description="one folder per tenant and call below it")


class ProofSettings(BaseModel):
    """A signed profile of what the platform was found to do: further keys of ``[supervision]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: Path | None = Field(default=None, description="the capability profile that a probe wrote")
    operator: str | None = Field(
        default=None, description="the public key of who signed it (ed25519:…), or a file that holds it"
    )
    profile_days: float | None = Field(
        default=None, gt=0, le=36_500, description="how old the profile may be, in days; without it, any age"
    )


class ProbeSettings(BaseModel):
    """The closed test call of a probe: table ``[probe]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    test_departments: tuple[str, ...] = Field(
        default=(), description="ids of departments that are for tests; no other is probed"
    )
    link: str = Field(default="", repr=False, description="an access link of the department, or its token")
    attendant: Login = Field(description="the account that takes the test call")
    supervisor: Login = Field(description="the account that supervises it; another one")


@dataclass(frozen=True, slots=True)
class Probing:
    """Everything that a probe needs, validated.

    Attributes:
        probe: The table ``[probe]``.
        attendant: Who takes the test call.
        supervisor: Who supervises it.
        strategy: How the platform is asked to let him.
    """

    probe: ProbeSettings
    attendant: Credentials
    supervisor: Credentials
    strategy: SupervisionStrategy


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a run needs, validated.

    Attributes:
        voki: The platform and the account.
        service: How the service runs.
        archive: Where calls are kept.
        bots: The bots, each with its plugins made.
    """

    voki: VokiSettings
    service: ServiceSettings
    archive: ArchiveSettings
    bots: tuple[tuple[Bot, tuple[Plugin[Any], ...]], ...]


def load(
    path: Path | None,
    bots: tuple[Bot, ...] = (),
    *,
    registry: Registry | None = None,
    otherwise: Bot | None = None,
    tenant: str | None = None,
) -> Settings:
    """Read and validate a configuration.

    Args:
        path: A TOML file; None takes the environment alone.
        bots: Bots made in Python, beside those of the file.
        registry: Where plugins are looked up.
        otherwise: The bot that is taken if there is no other.
        tenant: Goes before the tenant of the file and of the environment.

    Raises:
        ConfigurationError: With every problem and its path, one a line.
    """
    tables = _read(path) if path else {}
    found: list[str] = []
    registry = registry or Registry()
    for name in sorted(tables.keys() - TABLES):
        found.append(f"{name}: there is no such table; expected {', '.join(sorted(TABLES))}")
    voki = _voki(tables.get("voki", {}), found, tenant)
    service = _table(ServiceSettings, tables, "service", found)
    archive = _table(ArchiveSettings, tables, "archive", found)
    consent = _table(ConsentPolicy, tables, "consent", found)
    made = [*bots, *_bots(tables.get("bots", []), consent, found)]
    if not made and otherwise is not None:
        made = [otherwise]
    if not made and not found:
        found.append("bots: there is no bot; write a [[bots]] table or make a voki_bots.Bot")
    built = [(bot, _built(bot, registry, found)) for bot in made]
    names = [bot.name for bot in made]
    found += [
        f"bots: the name {name!r} is used twice" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    if found or voki is None or service is None or archive is None:
        where = f"{path}: " if path else ""
        raise ConfigurationError("\n".join(f"{where}{line}" for line in found), path=str(path or ""))
    return Settings(voki, service, archive, tuple(built))


def load_voki(path: Path | None, *, tenant: str | None = None) -> VokiSettings:
    """Read only the platform and the account, for commands that run no bot.

    Args:
        path: A TOML file; None takes the environment alone.
        tenant: Goes before the tenant of the file and of the environment.

    Raises:
        ConfigurationError: With every problem and its path, one a line.
    """
    tables = _read(path) if path else {}
    found: list[str] = []
    voki = _voki(tables.get("voki", {}), found, tenant)
    if voki is None:
        where = f"{path}: " if path else ""
        raise ConfigurationError("\n".join(f"{where}{line}" for line in found), path=str(path or ""))
    return voki


def credentials_of(voki: VokiSettings, bot: Bot | None = None) -> Credentials:
    """Turn the platform's settings into what an `Account` needs.

    Args:
        voki: The platform, and the account that finds calls.
        bot: Attends with an account of its own, if it has one.

    Raises:
        ConfigurationError: If there is no password, or its file cannot be read.
    """
    shared = _platform(voki)
    if bot is not None and bot.login is not None:
        return _signed_in_as(bot.login, shared, f"bots.{bot.name}.login")
    shared.password()
    return shared


def _platform(voki: VokiSettings) -> Credentials:
    """The platform, and the account of ``[voki]``."""
    # An account needs the whole media stack, which reading settings must not load.
    from voki_bots.bots.account import Credentials

    secret = voki.totp_secret
    return Credentials(
        url=voki.url,
        tenant=voki.tenant,
        email=voki.email,
        password=voki.secret,
        totp_secret=secret.get_secret_value if secret is not None else None,
        socket_url=voki.socket_url,
        token_file=voki.token_file,
        loopback=voki.loopback,
        relay_only=voki.relay_only,
        turn_hosts=voki.turn_hosts,
    )


def _signed_in_as(login: Login, shared: Credentials, path: str) -> Credentials:
    """The same platform, as another user."""
    own = shared.of(login, path=path)
    own.password()
    return own


def delivery_secret(settings: Settings, number: int) -> bytes:
    """What signs the webhooks of the how-many-th entry of ``[[service.deliver]]``.

    Raises:
        ConfigurationError: If there is none, or its file cannot be read or is empty.
    """
    path, file = f"service.deliver.{number}.secret_file", settings.service.deliver[number].secret_file
    shared = settings.voki.delivery_secret
    if file is None and shared is None:
        raise ConfigurationError(f"{path}: no secret; set it, or VOKI_DELIVERY_SECRET", path=path)
    secret = secret_in(file, path) if file is not None else shared.get_secret_value()  # type: ignore[union-attr]  # checked above
    if len(secret.strip()) < SHORTEST_TOKEN:
        raise ConfigurationError(
            f"{path}: expected at least {SHORTEST_TOKEN} characters, got {len(secret.strip())}", path=path
        )
    return secret.encode()


def webhook_secret(settings: Settings) -> str | None:
    """The secret of Voki's webhooks; None if they are not taken.

    Raises:
        ConfigurationError: If its file cannot be read, or is empty: then anybody could sign.
    """
    return _shared_secret(settings.voki, settings.service, "webhook_secret")


def control_token(voki: VokiSettings, service: ServiceSettings) -> str | None:
    """What whoever commands a running service must show; None if it takes no commands.

    Raises:
        ConfigurationError: If its file cannot be read, or it is too short to be a secret.
    """
    token = _shared_secret(voki, service, "control_token")
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise ConfigurationError(
            f"control_token: expected at least {SHORTEST_TOKEN} characters, got {len(token)}",
            path="control_token",
        )
    return token


def tokens_of(service: ServiceSettings) -> list[tuple[PersonSettings, str]]:
    """Read the tokens of people.

    Raises:
        ConfigurationError: If a file cannot be read, a token is too short to be a secret, or two people have
            the same name or token.
    """
    found: list[tuple[PersonSettings, str]] = []
    for number, person in enumerate(service.access):
        path = f"service.access.{number}.token_file"
        token = secret_in(person.token_file, path).strip()
        if len(token) < SHORTEST_TOKEN:
            raise ConfigurationError(
                f"{path}: expected at least {SHORTEST_TOKEN} characters, got {len(token)}", path=path
            )
        for other, known in found:
            if person.name == other.name or token == known:
                same = "name" if person.name == other.name else "token"
                why = f"service.access.{number}: the same {same} as that of {other.name!r}"
                raise ConfigurationError(why, path=f"service.access.{number}")
        found.append((person, token))
    return found


def check_exposure(service: ServiceSettings, *, guarded: bool) -> None:
    """Refuse to be asked from elsewhere by just anybody, or in the clear.

    Args:
        service: How the service runs.
        guarded: Whether anybody must show who they are.

    Raises:
        ConfigurationError: If other machines can ask, and nobody checks who they are, or words would go
            unencrypted.
    """
    if service.loopback:
        return
    if not guarded:
        raise ConfigurationError(
            f"service.host: other machines can reach {service.host}, and nobody checks who asks; write "
            "[[service.access]] or [service.proxy], set VOKI_CONTROL_TOKEN, or bind 127.0.0.1",
            path="service.host",
        )
    if service.tls is None and service.proxy is None:
        raise ConfigurationError(
            f"service.host: other machines can reach {service.host}, and tokens would go unencrypted; "
            "write [service.tls], or [service.proxy] for a proxy that encrypts, or bind 127.0.0.1",
            path="service.host",
        )


def load_control(path: Path | None, *, tenant: str | None = None) -> tuple[VokiSettings, ServiceSettings]:
    """Read only what is needed to find and command a running service.

    Raises:
        ConfigurationError: With every problem and its path, one a line.
    """
    tables = _read(path) if path else {}
    found: list[str] = []
    service = _table(ServiceSettings, tables, "service", found)
    if service is None:
        raise ConfigurationError("\n".join(f"{path}: {line}" for line in found), path=str(path or ""))
    return load_voki(path, tenant=tenant), service


def load_supervision(
    path: Path | None, *, tenant: str | None = None
) -> tuple[VokiSettings, SupervisionStrategy]:
    """Read the platform, a supervisor's own account, and how the platform is asked: table ``[supervision]``.

    Raises:
        ConfigurationError: With every problem and its path, one a line; if the table is missing, too.
    """
    from voki_bots.bots.supervision import SupervisionStrategy

    tables = _read(path) if path else {}
    if "supervision" not in tables:
        raise ConfigurationError(
            "supervision: how this platform is asked is not documented, and never guessed; write the table "
            '[supervision], such as by = "rest" and path = "/api/v1/calls/{call}/supervise"',
            path="supervision",
        )
    found: list[str] = []
    strategy = _part(SupervisionStrategy, _split_proof(tables["supervision"])[0], "supervision", found)
    if strategy is None:
        raise ConfigurationError("\n".join(f"{path}: {line}" for line in found), path=str(path))
    return load_voki(path, tenant=tenant), strategy


def load_proof(path: Path | None, voki: VokiSettings) -> CapabilityProfile | None:
    """Read the profile that ``[supervision]`` names, signed by the operator that it names; None without one.

    Raises:
        ConfigurationError: If it proves nothing about this tenant and host, with the reason.
    """
    tables = _read(path) if path else {}
    found: list[str] = []
    keys = _split_proof(tables.get("supervision"))[1]
    proof: ProofSettings | None = _part(ProofSettings, keys, "supervision", found)
    if proof is not None and (proof.profile is None) != (proof.operator is None):
        found.append("supervision: a profile needs its operator, and an operator a profile; set both")
    if found or proof is None:
        raise ConfigurationError("\n".join(f"{path}: {line}" for line in found), path="supervision")
    if proof.profile is None or proof.operator is None:
        return None
    from voki_bots.bots.profile import host_of, load_profile

    return load_profile(
        proof.profile,
        trusted=proof.operator,
        tenant=voki.tenant,
        host=host_of(voki.url),
        max_age=timedelta(days=proof.profile_days) if proof.profile_days is not None else None,
    )


def _split_proof(table: object) -> tuple[object, dict[str, Any]]:
    """What of ``[supervision]`` says how the platform is asked, and what says what is proved."""
    if not isinstance(table, Mapping):
        return table, {}
    names = ProofSettings.model_fields.keys()
    proof = {name: value for name, value in table.items() if name in names}
    return {name: value for name, value in table.items() if name not in names}, proof


def load_probe(path: Path, *, tenant: str | None = None) -> Probing:
    """Read the tables ``[probe]``, ``[voki]`` and ``[supervision]``; ``voki.email`` is not needed.

    Raises:
        ConfigurationError: With every problem and its path, one a line; if a table is missing, too.
    """
    from voki_bots.bots.supervision import SupervisionStrategy

    tables, found = _read(path), list[str]()
    for name, why in (
        ("probe", "as whom is probed, and where"),
        ("supervision", "how the platform is asked"),
    ):
        if name not in tables:
            found.append(f"{name}: the table [{name}] is missing; it says {why}")
    probe: ProbeSettings | None = None
    strategy: SupervisionStrategy | None = None
    if not found:
        probe = _table(ProbeSettings, tables, "probe", found)
        strategy = _part(SupervisionStrategy, _split_proof(tables["supervision"])[0], "supervision", found)
    account = tables.get("voki", {})
    if isinstance(account, Mapping):
        account = {"email": probe.supervisor.email if probe is not None else "nobody", **account}
    voki = _voki(account, found, tenant)
    if found or probe is None or voki is None or strategy is None:
        raise ConfigurationError("\n".join(f"{path}: {line}" for line in found), path=str(path))
    shared = _platform(voki)
    return Probing(
        probe,
        _signed_in_as(probe.attendant, shared, "probe.attendant"),
        _signed_in_as(probe.supervisor, shared, "probe.supervisor"),
        strategy,
    )


def _shared_secret(voki: VokiSettings, service: ServiceSettings, name: str) -> str | None:
    """A secret that others share with the service: from the environment, else from its file."""
    path = f"service.{name}_file"
    given: SecretStr | None = getattr(voki, name)
    file: Path | None = getattr(service, f"{name}_file")
    if given is not None:
        secret, path = given.get_secret_value(), f"VOKI_{name.upper()}"
    elif file is not None:
        secret = secret_in(file, path)
    else:
        return None
    if not secret.strip():
        raise ConfigurationError(f"{path}: the secret is empty", path=path)
    return secret


def _loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}", path=str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read: {_reason(error)}", path=str(path)) from None


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"


def _voki(table: object, found: list[str], tenant: str | None = None) -> VokiSettings | None:
    if not isinstance(table, Mapping):
        found.append("voki: expected a table")
        return None
    for name in _SECRETS:
        if name in table:
            found.append(f"voki.{name}: secrets do not belong into this file; set VOKI_{name.upper()}")
    plain = {key: value for key, value in table.items() if key not in _SECRETS}
    if tenant is not None:
        plain["tenant"] = tenant
    try:
        voki = VokiSettings(**plain)
    except ValidationError as error:
        for line in problems(error, "voki"):
            variable = f"VOKI_{line.split(':')[0].removeprefix('voki.').upper()}"
            found.append(f"{line}; set it in [voki] or as {variable}" if "required" in line else line)
        return None
    # The environment goes before the file, but what was asked for by name goes before both.
    return voki if tenant is None else voki.model_copy(update={"tenant": tenant})


def _table(model: type[Any], tables: Mapping[str, Any], name: str, found: list[str]) -> Any:
    return _part(model, tables.get(name, {}), name, found)


def _part(model: type[Any], table: object, path: str, found: list[str]) -> Any:
    try:
        return model.model_validate(table)
    except ValidationError as error:
        found.extend(problems(error, path))
        return None


def _bots(entries: object, consent: ConsentPolicy | None, found: list[str]) -> list[Bot]:
    if not isinstance(entries, list):
        found.append("bots: expected an array of tables, [[bots]]")
        return []
    return [bot for i, entry in enumerate(entries) if (bot := _bot(entry, f"bots.{i}", consent, found))]


def _bot(entry: object, path: str, consent: ConsentPolicy | None, found: list[str]) -> Bot | None:
    if not isinstance(entry, dict):
        found.append(f"{path}: expected a table")
        return None
    table = dict(entry)
    name, rule, plugins = table.pop("name", None), table.pop("join", {}), table.pop("plugins", [])
    speaks, voice = table.pop("speaks", False), table.pop("voice", "")
    longest_pause, login = table.pop("longest_pause", None), table.pop("login", None)
    watch = table.pop("watch", [])
    if not isinstance(name, str):
        found.append(f"{path}.name: expected a string, got {type(name).__name__}")
    if not isinstance(speaks, bool):
        found.append(f"{path}.speaks: expected true or false, got {type(speaks).__name__}")
        speaks = False
    if not isinstance(voice, str):
        found.append(f"{path}.voice: expected a string, got {type(voice).__name__}")
    if not (isinstance(plugins, list) and all(isinstance(one, str) for one in plugins)):
        found.append(f"{path}.plugins: expected a list of names")
        plugins = []
    checked = _part(Rule, rule, f"{path}.join", found) or Rule()
    if "consent" in table:
        consent = _part(ConsentPolicy, table.pop("consent"), f"{path}.consent", found)
    if not isinstance(watch, list):
        found.append(f"{path}.watch: expected an array of tables, [[bots.watch]]")
        watch = []
    watches = [_part(Watch, each, f"{path}.watch.{i}", found) for i, each in enumerate(watch)]
    own = _part(Login, login, f"{path}.login", found) if login is not None else None
    for key in sorted(table):
        if key not in plugins:
            found.append(f"{path}.{key}: neither a setting of a bot nor the name of one of its plugins")
        elif not isinstance(table[key], dict):
            found.append(f"{path}.{key}: expected a table of settings")
    if not isinstance(name, str):
        return None
    try:
        bot = Bot(
            name,
            join=checked,
            speaks=speaks,
            voice=voice if isinstance(voice, str) else "",
            longest_pause=longest_pause,
            consent=consent,
            watch=[each for each in watches if each is not None],
            login=own,
        )
    except ConfigurationError as error:
        found.append(f"{path}.{error.path}: {error}")
        return None
    # Whatever else is wrong, the plugins' own mistakes are to be told in the same breath.
    for plugin in plugins:
        settings = table.get(plugin, {})
        bot.use(plugin, **settings if isinstance(settings, dict) else {})
    return bot


def _built(bot: Bot, registry: Registry, found: list[str]) -> tuple[Plugin[Any], ...]:
    try:
        return tuple(bot.plugins(registry, path=f"bots.{bot.name}"))
    except ConfigurationError as error:
        found.extend(str(error).split("\n"))
        return ()
