"""Gauges of tracks, for as long as these last."""

from prometheus_client import CollectorRegistry, generate_latest

from voki_bots.calls import Call, Track, TrackEnded, TrackMeasured
from voki_bots.service.quality import TrackGauges

CALL = Call("acme", "c1")


def measured(ssrc: int, mos: float, rtt: float | None = None) -> TrackMeasured:
    return TrackMeasured(Track(0, "1", ssrc), 5.0, 250, 0.01, 0.002, rtt, mos)


def series(registry: CollectorRegistry, name: str) -> list[str]:
    return [x for x in generate_latest(registry).decode().splitlines() if x.startswith(name + "{")]


def test_each_track_has_gauges_of_its_own() -> None:
    """What is not known has none."""
    registry = CollectorRegistry()
    take = TrackGauges(registry).of("minutes", CALL)
    take(measured(7, 4.2))
    take(measured(8, 3.1, 0.05))
    labels = 'bot="minutes",call="c1",tenant="acme",track="0:1:'
    assert series(registry, "voki_bots_track_mos") == [
        f'voki_bots_track_mos{{{labels}7"}} 4.2',
        f'voki_bots_track_mos{{{labels}8"}} 3.1',
    ]
    assert len(series(registry, "voki_bots_track_rtt_seconds")) == 1


def test_a_track_that_ended_has_none() -> None:
    """Its series are gone, and no others."""
    registry = CollectorRegistry()
    take = TrackGauges(registry).of("minutes", CALL)
    take(measured(7, 4.2, 0.05))
    take(measured(8, 3.1))
    take(TrackEnded(Track(0, "1", 7), 9.0, 9.0))
    take(TrackEnded(Track(0, "1", 9), 9.0, 9.0))
    assert ["0:1:8" in line for line in series(registry, "voki_bots_track_mos")] == [True]
    assert series(registry, "voki_bots_track_rtt_seconds") == []


def test_more_tracks_than_wanted_are_counted() -> None:
    """The number of series is bounded, whatever calls bring; room is made when a track ends."""
    registry = CollectorRegistry()
    take = TrackGauges(registry, most=2).of("minutes", CALL)
    for ssrc in range(5):
        take(measured(ssrc, 4.0))
    take(TrackEnded(Track(0, "1", 0), 9.0, 9.0))
    take(measured(5, 4.0))
    assert len(series(registry, "voki_bots_track_mos")) == 2
    assert "voki_bots_track_measurements_unshown_total 3.0" in generate_latest(registry).decode()
