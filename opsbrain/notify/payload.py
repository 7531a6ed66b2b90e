"""What a notification says about an incident: the `data` of a CloudEvent, also the source of its JSON Schema.

`docs/incident-event.schema.json` is rendered from these types: `python -m opsbrain.notify.payload`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from engine.types import Cause, Change, Evidence, Fix, Incident
from opsbrain.notify.timestamps import rfc3339

MAX_CAUSES: Final = 5
MAX_EVIDENCE: Final = 8
MAX_ENTITIES: Final = 50
MAX_CHANGES: Final = 10

_DIRECTIONS: Final = {1: "above", -1: "below", 0: "none"}


@dataclass(frozen=True, slots=True)
class EvidenceData:
    """One sign: what was seen where, how strong (0 to 1), and what had been expected (null when unknown)."""

    entity: str
    indicator: str
    kind: str
    direction: str
    strength: float | None
    at: str
    text: str
    observed: float | None
    expected: tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class CauseData:
    """One candidate, its score in [0, 1], and the path from it to the symptom."""

    entity: str
    score: float
    path: tuple[str, ...]
    evidence: tuple[EvidenceData, ...]


@dataclass(frozen=True, slots=True)
class ChangeData:
    """Something that was done shortly before or during the incident."""

    entity: str
    at: str
    kind: str
    summary: str


@dataclass(frozen=True, slots=True)
class VerdictData:
    """One check of a fix: passed, failed or inconclusive."""

    check: str
    outcome: str
    ran: str
    showed: str


@dataclass(frozen=True, slots=True)
class FixData:
    """One proposed fix. It is applied by nobody until a person says so."""

    id: str
    revision: int
    playbook: str
    entity: str
    title: str
    rationale: str
    risk: str
    outcome: str
    blast_radius: tuple[str, ...]
    expires: str
    verdicts: tuple[VerdictData, ...]


@dataclass(frozen=True, slots=True)
class IncidentData:
    """One incident at one revision; a later revision of the same id replaces it.

    `causes` are best first; when there are none, `abstained` says why. `more` counts what was left out for size.
    """

    id: str
    revision: int
    scope: str
    phase: str
    severity: str
    title: str
    opened: str
    updated: str
    resolved: str | None
    reason: str
    entities: tuple[str, ...]
    causes: tuple[CauseData, ...]
    abstained: str | None
    changes: tuple[ChangeData, ...]
    fixes: tuple[FixData, ...]
    more: dict[str, int]


def incident_data(incident: Incident, fixes: Sequence[Fix]) -> IncidentData:
    """Return what is told of `incident` and its `fixes`; lists are cut to a size that receivers take."""
    causes = incident.ranking.causes
    lengths = {
        "causes": len(causes) - MAX_CAUSES,
        "entities": len(incident.entities) - MAX_ENTITIES,
        "changes": len(incident.changes) - MAX_CHANGES,
    }
    return IncidentData(
        id=incident.id,
        revision=incident.revision,
        scope=incident.scope,
        phase=incident.phase.value,
        severity=incident.severity.value,
        title=incident.title,
        opened=rfc3339(incident.opened_ms),
        updated=rfc3339(incident.updated_ms),
        resolved=None if incident.resolved_ms is None else rfc3339(incident.resolved_ms),
        reason=incident.transitions[-1].reason if incident.transitions else "",
        entities=incident.entities[:MAX_ENTITIES],
        causes=tuple(_cause(one) for one in causes[:MAX_CAUSES]),
        abstained=incident.ranking.abstained,
        changes=tuple(_change(one) for one in incident.changes[-MAX_CHANGES:]),
        fixes=tuple(_fix(one) for one in fixes),
        more={name: left for name, left in sorted(lengths.items()) if left > 0},
    )


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a notification's `data`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(IncidentData)}


def render_schema() -> str:
    """Return the schema as it is checked in."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode() + "\n"


def _cause(cause: Cause) -> CauseData:
    return CauseData(cause.entity, cause.score, cause.path, tuple(_evidence(e) for e in cause.evidence[:MAX_EVIDENCE]))


def _evidence(one: Evidence) -> EvidenceData:
    return EvidenceData(
        entity=one.entity,
        indicator=one.indicator,
        kind=one.kind,
        direction=_DIRECTIONS.get(one.direction, "none"),
        strength=_number(one.strength),
        at=rfc3339(one.at_ms),
        text=one.text,
        observed=_number(one.observed),
        expected=(_number(one.expected_lo), _number(one.expected_hi)),
    )


def _change(one: Change) -> ChangeData:
    return ChangeData(one.entity, rfc3339(one.ts_ms), one.kind, one.summary)


def _fix(fix: Fix) -> FixData:
    return FixData(
        id=fix.id,
        revision=fix.revision,
        playbook=fix.playbook,
        entity=fix.entity,
        title=fix.title,
        rationale=fix.rationale,
        risk=fix.risk.value,
        outcome=fix.outcome.value,
        blast_radius=fix.blast_radius,
        expires=rfc3339(fix.expires_ms),
        verdicts=tuple(VerdictData(v.check, v.outcome.value, v.ran, v.showed) for v in fix.verdicts),
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    sys.stdout.write(render_schema())
