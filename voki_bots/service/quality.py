"""How the tracks of running calls come, as gauges: one series for each, for as long as the track lasts."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from voki_bots.calls import Call, Track, TrackEnded, TrackMeasured

MOST_TRACKS = 2000
"""Tracks that have gauges at the same time; those beyond are counted."""

_LABELS = ["bot", "tenant", "call", "track"]


class TrackGauges:
    """Gauges of loss, jitter, round trip and MOS by track.

    Args:
        registry: Where they are collected.
        most: Tracks that have gauges at the same time.
    """

    def __init__(self, registry: CollectorRegistry, most: int = MOST_TRACKS) -> None:
        self._gauges = {
            "loss": Gauge("voki_bots_track_loss_ratio", "Packets lost", _LABELS, registry=registry),
            "jitter": Gauge("voki_bots_track_jitter_seconds", "Jitter", _LABELS, registry=registry),
            "rtt": Gauge("voki_bots_track_rtt_seconds", "Round trip", _LABELS, registry=registry),
            "mos": Gauge("voki_bots_track_mos", "Mean opinion score", _LABELS, registry=registry),
        }
        self._unshown = Counter(
            "voki_bots_track_measurements_unshown", "Beyond the most tracks that are shown", registry=registry
        )
        self._most = most
        self._shown: dict[tuple[str, ...], set[str]] = {}

    def of(self, bot: str, call: Call) -> Callable[[TrackMeasured | TrackEnded], None]:
        """Give what takes the events of one call."""

        def take(event: TrackMeasured | TrackEnded) -> None:
            labels = self._labels(bot, call, event.track)
            if isinstance(event, TrackEnded):
                self._forget(labels)
            elif labels in self._shown or len(self._shown) < self._most:
                self._show(labels, event)
            else:
                self._unshown.inc()

        return take

    @staticmethod
    def _labels(bot: str, call: Call, track: Track) -> tuple[str, ...]:
        return bot, call.tenant, call.call_id, str(track)

    def _show(self, labels: tuple[str, ...], event: TrackMeasured) -> None:
        shown = self._shown.setdefault(labels, set())
        for name, gauge in self._gauges.items():
            if (value := getattr(event, name)) is not None:
                gauge.labels(*labels).set(value)
                shown.add(name)

    def _forget(self, labels: tuple[str, ...]) -> None:
        for name in self._shown.pop(labels, ()):
            self._gauges[name].remove(*labels)
