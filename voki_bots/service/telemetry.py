"""Logs and metrics: structlog rendering without secrets, and Prometheus."""

from __future__ import annotations

import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from voki_bots.service.quality import TrackGauges

_SECRET_NAMES = re.compile(
    r"token|password|passwd|secret|credential|authorization|ice.?pwd|sdp\Z", re.IGNORECASE
)
_SECRET_VALUES = re.compile(
    r"eyJ[\w-]{5,}\.[\w-]+\.[\w-]*"  # a JWT
    r"|(?<=token=)[^&\s'\"]+"  # in an address
    r"|(?<=[Bb]earer )\S+"
)
_HIDDEN = "[hidden]"
_LONGEST = 2000
_COUNT = re.compile(r"\A[a-z][a-z0-9_]*\Z")


def without_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide whatever is named or looks like a secret; a structlog processor.

    It is the last line of defence: nothing should log one in the first place.
    """
    return {key: _clean(key, value) for key, value in event.items()}


def _clean(key: str, value: Any) -> Any:
    if isinstance(value, str):
        # The name of an event ("token_renewed") is ours, and says what happened.
        if key != "event" and _SECRET_NAMES.search(key):
            return _HIDDEN
        return _SECRET_VALUES.sub(_HIDDEN, value)[:_LONGEST]
    if isinstance(value, dict):
        return {str(k): _clean(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(key, v) for v in value]
    return value


def setup(log: str = "json", stream: TextIO | None = None, *, level: str = "info") -> None:
    """Send logs to a stream (standard error by default), one line each.

    Args:
        log: ``json`` or ``console``.
        stream: Where to.
        level: The lowest level that is written.
    """
    stream = stream or sys.stderr
    rendering: list[Any] = (
        [
            structlog.processors.format_exc_info,
            without_secrets,
            structlog.processors.JSONRenderer(default=str),
        ]
        if log == "json"
        else [without_secrets, structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )


class Telemetry:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Gauge("voki_bots_calls", "Calls attended now", ["bot"], registry=self.registry)
        self.attended = Counter(
            "voki_bots_calls_attended", "Calls attended since start", ["bot"], registry=self.registry
        )
        self.failed = Counter(
            "voki_bots_calls_failed",
            "Calls that could not be attended",
            ["bot", "why"],
            registry=self.registry,
        )
        self.decisions = Counter(
            "voki_bots_decisions", "Calls offered to bots", ["bot", "attend"], registry=self.registry
        )
        self.events = Counter(
            "voki_bots_service_events",
            "Queue, presence and notification events",
            ["type"],
            registry=self.registry,
        )
        self.lag = Gauge("voki_bots_loop_lag_seconds", "How late the event loop runs", registry=self.registry)
        self.socket = Gauge("voki_bots_socket_up", "Whether the websocket is up", registry=self.registry)
        self.disk = Gauge(
            "voki_bots_disk_used_ratio",
            "How full the disk of an archive is",
            ["directory"],
            registry=self.registry,
        )
        self.deliveries = Counter(
            "voki_bots_deliveries", "Webhooks that we send", ["outcome"], registry=self.registry
        )
        self.webhooks = Counter(
            "voki_bots_webhooks", "Webhooks of Voki's", ["outcome"], registry=self.registry
        )
        self.tracks = TrackGauges(self.registry)
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}

    def delivered(self, outcome: str) -> None:
        """Count a webhook of ours: ``sent``, ``retried`` or ``dead``."""
        self.deliveries.labels(outcome).inc()

    def webhook(self, outcome: str) -> None:
        """Count a webhook: ``taken``, ``repeated`` or ``refused``."""
        self.webhooks.labels(outcome).inc()

    def of(self, bot: str, tenant: str, plugin: str) -> PluginMetrics:
        """The metrics of one plugin."""
        return PluginMetrics(self, bot, tenant, plugin)

    def counter(self, name: str) -> Counter:
        """The counter ``voki_bots_plugin_<name>``, made at its first use."""
        if name not in self._counters:
            self._counters[name] = Counter(
                f"voki_bots_plugin_{_checked(name)}",
                "Counted by plugins",
                ["bot", "tenant", "plugin"],
                registry=self.registry,
            )
        return self._counters[name]

    def gauge(self, name: str) -> Gauge:
        """The gauge ``voki_bots_plugin_<name>``, made at its first use."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(
                f"voki_bots_plugin_{_checked(name)}",
                "Measured by plugins",
                ["bot", "tenant", "plugin"],
                registry=self.registry,
            )
        return self._gauges[name]


def _checked(name: str) -> str:
    if not _COUNT.match(name):
        raise ValueError(f"a metric's name is lower-case letters, digits and '_', got {name[:80]!r}")
    return name


class PluginMetrics:
    """See `voki_bots.bots.plugin.Metrics`."""

    def __init__(self, telemetry: Telemetry, bot: str, tenant: str, plugin: str) -> None:
        self._telemetry = telemetry
        self._labels = (bot, tenant, plugin)

    def count(self, name: str, amount: float = 1.0) -> None:
        """Add to a counter."""
        self._telemetry.counter(name).labels(*self._labels).inc(amount)

    def gauge(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._telemetry.gauge(name).labels(*self._labels).set(value)
