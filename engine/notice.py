"""What goes with a revision of an incident, so that whoever tells people needs no other message.

Fixes travel on a stream of their own, and two streams have no common order: a teller that looked for them would have to
guess how long to wait, and one that took the work over from another would not have seen the earlier ones at all. The
notice makes what is told a function of one message: the same bytes from every worker, at any time, after any crash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from engine.types import Fix, Incident, Severity


@dataclass(frozen=True, slots=True)
class Face:
    """What an alerting system knows an incident by: it is another alert when one of these changes."""

    severity: Severity
    suspect: str  # an entity, or "" when there is none


@dataclass(frozen=True, slots=True)
class Notice:
    """The fixes as they were at a revision of an incident (by id), and the face of the revision before it."""

    fixes: tuple[Fix, ...] = ()
    before: Face | None = None


def face_of(incident: Incident) -> Face:
    """Return the face of a revision: the likeliest cause, or the first entity while none is named."""
    return _face(incident.severity, [one.entity for one in incident.ranking.causes[:1]], incident.entities)


def face_in(gist: str) -> Face:
    """Return the face in what the scope step keeps of a revision (`engine.scope`)."""
    _, severity, entities, _, top, _ = msgspec.json.decode(gist)
    return _face(Severity(severity), top, entities)


def notice_among(incident: Incident, revisions: Iterable[Incident], fixes: Iterable[Fix]) -> Notice:
    """Return the notice of `incident` where all `revisions` and `fixes` so far are at hand."""
    newest: dict[str, Fix] = {}
    for fix in fixes:
        known = newest.get(fix.id)
        if fix.incident_id == incident.id and fix.revision <= incident.revision:
            newest[fix.id] = fix if known is None or known.revision < fix.revision else known
    wanted = incident.id, incident.revision - 1
    before = next((face_of(one) for one in revisions if (one.id, one.revision) == wanted), None)
    return Notice(tuple(newest[name] for name in sorted(newest)), before)


def _face(severity: Severity, top: Sequence[str], entities: Sequence[str]) -> Face:
    return Face(severity, next(iter([*top, *entities]), ""))
