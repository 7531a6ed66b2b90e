"""Incidents: when they open, what joins them, when they resolve, and that each step says why."""

from __future__ import annotations

from dataclasses import replace

from engine.correlate import CorrelateConfig, Correlator, simes
from engine.topology import Edge, Topology
from engine.types import Anomaly, Change, Incident, Phase, Severity

MINUTE = 60_000
A, B, C = (f"x/service/-/{name}" for name in "abc")


def anomaly(entity: str, window: int, tail_p: float = 1e-9, indicator: str = "cpu") -> Anomaly:
    start = window * MINUTE
    return Anomaly(
        f"{entity}{window}",
        entity,
        indicator,
        "gauge",
        ("z",),
        start,
        start + MINUTE,
        1,
        0.0,
        1.0,
        9.0,
        tail_p,
        Severity.WARNING,
    )


def topology() -> Topology:
    return Topology({Edge(A, B, "calls"): 0})


def window(
    correlator: Correlator, number: int, *anomalies: Anomaly, changes: tuple[Change, ...] = ()
) -> list[Incident]:
    touched = correlator.on_window((number + 1) * MINUTE, list(anomalies), 100, topology(), changes)
    for one in touched:
        correlator.commit(one)
    return touched


def test_one_strange_series_among_many_is_chance() -> None:
    correlator = Correlator(CorrelateConfig(confirm_windows=0), "x", MINUTE)
    assert window(correlator, 0, anomaly(A, 0, tail_p=1e-4)) == []


def test_neighbours_become_one_incident_and_strangers_another() -> None:
    correlator = Correlator(CorrelateConfig(confirm_windows=0), "x", MINUTE)
    touched = window(correlator, 0, anomaly(A, 0), anomaly(B, 0), anomaly(C, 0))
    assert sorted(one.entities for one in touched) == [(A, B), (C,)]


def test_who_joins_later_is_named_in_the_reason() -> None:
    correlator = Correlator(CorrelateConfig(confirm_windows=0), "x", MINUTE)
    (opened,) = window(correlator, 0, anomaly(A, 0))
    (joined,) = window(correlator, 1, anomaly(B, 1))
    assert joined.id == opened.id
    assert joined.transitions[-1].what == "joined"
    assert B in joined.transitions[-1].reason


def test_quiet_resolves_and_says_how_long_it_was_quiet() -> None:
    correlator = Correlator(CorrelateConfig(confirm_windows=0, quiet_ms=5 * MINUTE), "x", MINUTE)
    window(correlator, 0, anomaly(A, 0))
    assert [window(correlator, n) for n in range(1, 5)] == [[]] * 4
    (resolved,) = window(correlator, 5)
    assert resolved.phase is Phase.RESOLVED
    assert "300 s" in resolved.transitions[-1].reason


def test_an_anomaly_that_goes_on_stays_one_with_a_beginning_and_an_end() -> None:
    correlator = Correlator(CorrelateConfig(confirm_windows=0), "x", MINUTE)
    window(correlator, 0, anomaly(A, 0))
    (incident,) = window(correlator, 1, anomaly(A, 1))
    (one,) = incident.anomalies
    assert (one.start_ms, one.end_ms) == (0, 2 * MINUTE)


def test_changes_shortly_before_are_shown() -> None:
    correlator = Correlator(CorrelateConfig(confirm_windows=0, change_lookback_ms=10 * MINUTE), "x", MINUTE)
    early, recent = (Change(f"c{t}", A, t * MINUTE, "deployment", "v2") for t in (0, 25))
    window(correlator, 0, changes=(early,))
    (incident,) = window(correlator, 30, anomaly(A, 30), changes=(recent,))
    assert incident.changes == (recent,)


def test_a_resumed_correlator_goes_on_as_if_nothing_had_happened() -> None:
    straight, broken = (Correlator(CorrelateConfig(confirm_windows=0), "x", MINUTE) for _ in range(2))
    for one in (straight, broken):
        window(one, 0, anomaly(A, 0))
    resumed = Correlator(CorrelateConfig(confirm_windows=0), "x", MINUTE, broken.snapshot())
    assert window(straight, 1, anomaly(B, 1)) == window(resumed, 1, anomaly(B, 1))


def test_simes_counts_company() -> None:
    assert simes([1e-6], 1000) == 1e-3
    assert simes([1e-6] * 10, 1000) == 1e-4
    assert simes([], 10) == 1.0


def test_one_odd_window_is_not_enough_unless_users_notice() -> None:
    correlator = Correlator(CorrelateConfig(), "x", MINUTE)
    assert window(correlator, 0, anomaly(A, 0)) == []
    assert [window(correlator, n) for n in (1, 2)] == [[], []]
    assert window(correlator, 3, anomaly(A, 3)) == []
    (opened,) = window(correlator, 4, anomaly(A, 4))
    assert "seen in 2 windows" in opened.transitions[0].reason
    (one,) = opened.anomalies
    assert one.start_ms == 3 * MINUTE
    noticed = Correlator(CorrelateConfig(), "x", MINUTE)
    errors = replace(anomaly(A, 0, indicator="span.error_ratio"), severity=Severity.CRITICAL)
    assert [one.entities for one in window(noticed, 0, errors)] == [(A,)]


def test_an_outage_after_a_long_gap_is_a_new_incident() -> None:
    correlator = Correlator(CorrelateConfig(confirm_windows=0, quiet_ms=5 * MINUTE), "x", MINUTE)
    (first,) = window(correlator, 0, anomaly(A, 0))
    touched = window(correlator, 360, anomaly(A, 360))
    assert {one.id: one.phase for one in touched}[first.id] is Phase.RESOLVED
    assert len(touched) == 2


def test_a_generous_budget_opens_nothing_that_it_could_not_continue() -> None:
    daily = Correlator(CorrelateConfig(confirm_windows=0), "x", 86_400_000)
    assert daily.on_window(86_400_000, [anomaly(A, 0, tail_p=1e-3)], 100, topology(), ()) == []
