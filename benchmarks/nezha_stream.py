"""Protocol (b): a whole day replayed through the product with its default settings, as if nobody knew of faults.

A fault counts as detected when an incident opens within five minutes of its injection; each incident counts for one
fault at most, the earliest first, and every other incident is false. What the incident then says is taken from its
newest revision within those five minutes.

Logs and spans exist only around faults, so the mere fact that they come gives the faults away. Two figures keep that
honest: the recall of the trivial alarm that opens whenever they begin, and a control in which the fault-free minute is
put at as many fault-free times of the same day (beside its metrics): an incident there is false.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks.nezha_data import Day, Fault, HeldSource, is_service, main_minute, shifted
from engine.schemas import Kind
from engine.types import Incident
from opsbrain.replaying import Conclusions, run_replay
from opsbrain.settings import Settings

MINUTE_MS: Final = 60_000
OPEN_WITHIN_MS: Final = 5 * MINUTE_MS
FIRST_HOUR_MS: Final = 60 * MINUTE_MS
CLEAR_OF_FAULTS_MS: Final = 10 * MINUTE_MS  # a control minute is at least this far from any fault
NOT_KNOWN: Final = float("nan")


def cases_of(day: Day) -> list[dict[str, Any]]:
    """Return one case a fault, one an incident that met no fault, and one a control time."""
    revisions = by_id(run_replay(Settings(), HeldSource(day.frames)))
    matched = match(day.faults, revisions)
    cases = [_case(day, fault, revisions.get(matched.get(number, ""), ())) for number, fault in enumerate(day.faults)]
    false = sorted(name for name in revisions if name not in matched.values())
    return [*cases, *(_false_case(day, revisions[name]) for name in false), *_control(day)]


def score(days: Sequence[Day], cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the metrics of all days of one system from their cases; NaN where a figure cannot be formed."""
    faults = [one for one in cases if one["protocol"] == "stream" and one["fault"] is not None]
    false = [one for one in cases if one["protocol"] == "stream" and one["fault"] is None]
    control = [one["incidents"] > 0 for one in cases if one["protocol"] == "control"]
    trivial = [hit for day in days for hit in _trivial_hits(day)]
    hours = sum(day.hours for day in days)
    return {
        **summary(faults),
        "false_per_8h": len(false) / hours * 8 if hours else NOT_KNOWN,
        "trivial_recall": sum(trivial) / len(trivial) if trivial else NOT_KNOWN,
        "control_false": sum(control) / len(control) if control else NOT_KNOWN,
        "first_hour": summary([one for one in faults if one["first_hour"]]),
        "later": summary([one for one in faults if not one["first_hour"]]),
    }


def summary(cases: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return recall, AC@1 and AC@3 (of all faults, detected or not) and the median time to open (of the detected)."""
    opened = [one["opened_s"] for one in cases if one["opened_s"] is not None]
    ranks = [one["rank"] for one in cases if one["rank"] is not None]
    if not cases:
        return {"faults": 0, "recall": NOT_KNOWN, "ac1": NOT_KNOWN, "ac3": NOT_KNOWN, "median_open_s": NOT_KNOWN}
    return {
        "faults": len(cases),
        "recall": len(opened) / len(cases),
        "ac1": sum(rank <= 1 for rank in ranks) / len(cases),
        "ac3": sum(rank <= 3 for rank in ranks) / len(cases),
        "median_open_s": median(opened) if opened else NOT_KNOWN,
    }


def by_id(concluded: Conclusions) -> dict[str, tuple[Incident, ...]]:
    """Return all revisions of each incident, in order."""
    found: dict[str, list[Incident]] = {}
    for one in sorted(concluded.incidents, key=lambda one: (one.id, one.revision)):
        found.setdefault(one.id, []).append(one)
    return {name: tuple(ones) for name, ones in found.items()}


def match(faults: Sequence[Fault], revisions: Mapping[str, Sequence[Incident]]) -> dict[int, str]:
    """Return the incident of each detected fault by its number: in order of time, the earliest incident left."""
    free = sorted((ones[0].opened_ms, name) for name, ones in revisions.items())
    matched: dict[int, str] = {}
    for number, fault in enumerate(faults):
        inside = [one for one in free if fault.at_ms <= one[0] <= fault.at_ms + OPEN_WITHIN_MS]
        if inside:
            matched[number] = inside[0][1]
            free.remove(inside[0])
    return matched


def _case(day: Day, fault: Fault, revisions: Sequence[Incident]) -> dict[str, Any]:
    known = [one for one in revisions if one.updated_ms <= fault.at_ms + OPEN_WITHIN_MS] or list(revisions[:1])
    ranked = _services(known[-1]) if known else []
    return {
        "protocol": "stream",
        "day": day.name,
        "system": day.system,
        "at_ms": fault.at_ms,
        "first_hour": fault.at_ms < day.bounds_ms[0] + FIRST_HOUR_MS,
        "fault": fault.kind,
        "truth": fault.entity.rsplit("/", 1)[1],
        "incident": known[-1].id if known else None,
        "opened_s": (known[-1].opened_ms - fault.at_ms) / 1000 if known else None,
        "rank": ranked.index(fault.entity) + 1 if fault.entity in ranked else None,
        "first": [one.rsplit("/", 1)[1] for one in ranked[:5]],
    }


def _false_case(day: Day, revisions: Sequence[Incident]) -> dict[str, Any]:
    first = revisions[0]
    return {
        "protocol": "stream",
        "day": day.name,
        "system": day.system,
        "incident": first.id,
        "opened_ms": first.opened_ms,
        "fault": None,
        "title": first.title,
    }


def _services(incident: Incident) -> list[str]:
    return [cause.entity for cause in incident.ranking.causes if is_service(cause.entity)]


def _trivial_hits(day: Day) -> list[bool]:
    """Return for each fault whether an alarm in every minute that has logs or spans would have met it."""
    times = [frame["ts_ms"] for kind, frame in day.frames.items() if kind in ("logs", "spans")]
    if not times:
        return []
    ends = (np.unique(pl.concat(times).to_numpy() // MINUTE_MS) + 1) * MINUTE_MS  # it opens when the minute is over
    return [bool(((ends >= one.at_ms) & (ends <= one.at_ms + OPEN_WITHIN_MS)).any()) for one in day.faults]


def _control(day: Day) -> list[dict[str, Any]]:
    """Return one case a control time; none where the data set has no fault-free minute of the system."""
    if not day.reference or "metrics" not in day.frames:
        return []
    times = control_times(day)
    minute = main_minute(day.reference)
    frames: dict[Kind, pl.DataFrame] = {"metrics": day.frames["metrics"]}
    for kind, frame in day.reference.items():
        copies = [shifted(frame, at - minute, str(number)) for number, at in enumerate(times)]
        frames[kind] = pl.concat(copies).sort("ts_ms", maintain_order=True)
    opened = [ones[0].opened_ms for ones in by_id(run_replay(Settings(), HeldSource(frames))).values()]
    return [
        {
            "protocol": "control",
            "day": day.name,
            "system": day.system,
            "at_ms": at,
            "incidents": sum(at <= one <= at + OPEN_WITHIN_MS for one in opened),
        }
        for at in times
    ]


def control_times(day: Day) -> list[int]:
    """Return as many full minutes as there are faults, clear of them all and spread evenly over the day."""
    start, end = day.bounds_ms
    minutes = np.arange(-(-start // MINUTE_MS) * MINUTE_MS, end - OPEN_WITHIN_MS, MINUTE_MS)
    faults = np.array([one.at_ms for one in day.faults])
    clear = minutes[(np.abs(minutes[:, None] - faults[None, :]) >= CLEAR_OF_FAULTS_MS).all(axis=1)]
    picks = np.unique(np.linspace(0, max(len(clear) - 1, 0), len(faults)).round().astype(np.int64))
    return [int(clear[pick]) for pick in picks if len(clear)]
