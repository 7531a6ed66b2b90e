"""The contract of a playbook: a situation in, a draft or the reason for none out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engine.inventory import Inventory
from engine.types import Action, Anomaly, Cause, Change, Evidence, Incident, Risk


@dataclass(frozen=True, slots=True)
class Situation:
    """One candidate cause of one incident, and the objects as they were last seen.

    `now_ms` is event time: the only clock a playbook has. `inventory` is read, never written.
    """

    incident: Incident
    cause: Cause
    inventory: Inventory
    now_ms: int

    @property
    def entity(self) -> str:
        """Return the entity that is thought to be the cause."""
        return self.cause.entity

    def anomalies(self) -> list[Anomaly]:
        """Return the cause's own anomalies, strangest first."""
        own = (one for one in self.incident.anomalies if one.entity == self.entity)
        return sorted(own, key=lambda one: (one.tail_p, one.start_ms, one.indicator, one.id))

    def signs(self) -> list[Evidence]:
        """Return the cause's own evidence lines, strongest first."""
        own = (one for one in self.cause.evidence if one.entity == self.entity)
        return sorted(own, key=lambda one: (-one.strength, one.at_ms, one.indicator, one.text))

    def changes(self, kind: str) -> list[Change]:
        """Return the incident's changes of one kind, newest first."""
        return sorted((one for one in self.incident.changes if one.kind == kind), key=lambda one: (-one.ts_ms, one.id))


@dataclass(frozen=True, slots=True)
class Draft:
    """What a playbook would do, its exact undo, and why; nothing of it is proven yet."""

    playbook: str
    title: str
    rationale: str
    actions: tuple[Action, ...]
    undo: tuple[Action, ...]
    risk: Risk
    blast_radius: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Declined:
    """Why a playbook has nothing to offer here; shown to the operator."""

    playbook: str
    reason: str


class Playbook(Protocol):
    """Knows one remedy. A frozen configuration: all it needs comes with the situation."""

    @property
    def name(self) -> str: ...

    def propose(self, situation: Situation) -> Draft | Declined:
        """Return what to do, or why not. Pure: asking twice gives the same answer."""
