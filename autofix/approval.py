"""What people decide about fixes, as plain records: approve, reject, roll back, each with who, when and why.

Nothing is applied to a cluster here. An approval says how the fix would be applied, and a person does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from autofix.render import kubectl_script
from engine.ids import content_id
from engine.types import Fix, Outcome, Risk


class Choice(StrEnum):
    """What a person can say about a fix."""

    APPROVE = "approve"
    REJECT = "reject"
    ROLLBACK = "rollback"


class Standing(StrEnum):
    """Where a fix stands."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True)
class Decision:
    """Who said what about a fix, when, and why."""

    fix_id: str
    fix_revision: int
    choice: Choice
    who: str
    at_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit: what was decided, whether it took effect, and the commands it stands for."""

    id: str
    at_ms: int
    who: str
    what: str
    subject: str
    outcome: str  # "accepted" or "refused"
    reason: str
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a decision: the fix's standing after it, and the audit entry that says so."""

    standing: Standing
    entry: AuditEntry

    @property
    def accepted(self) -> bool:
        """Return whether the decision took effect."""
        return self.entry.outcome == "accepted"


_AFTER = {
    (Standing.PROPOSED, Choice.APPROVE): Standing.APPROVED,
    (Standing.PROPOSED, Choice.REJECT): Standing.REJECTED,
    (Standing.APPROVED, Choice.ROLLBACK): Standing.ROLLED_BACK,
}


def standing(decisions: Sequence[Decision]) -> Standing:
    """Return where a fix stands after its accepted decisions, in the order in which they were made."""
    now = Standing.PROPOSED
    for one in decisions:
        now = _AFTER.get((now, one.choice), now)
    return now


def decide(fix: Fix, earlier: Sequence[Decision], decision: Decision) -> Settled:
    """Return what becomes of `decision` given those accepted `earlier`; a refusal is an audit entry too."""
    now = standing(earlier)
    refusal = _refusal(fix, now, decision)
    if refusal:
        return Settled(now, _entry(decision, "refused", refusal, ()))
    actions = {Choice.APPROVE: fix.actions, Choice.ROLLBACK: fix.undo, Choice.REJECT: ()}[decision.choice]
    return Settled(
        _AFTER[now, decision.choice], _entry(decision, "accepted", decision.reason, tuple(kubectl_script(actions)))
    )


def _refusal(fix: Fix, now: Standing, decision: Decision) -> str | None:
    if decision.fix_id != fix.id:
        return f"the decision is about {decision.fix_id}, not {fix.id}"
    if not decision.who.strip():
        return "a decision needs a name"
    if (now, decision.choice) not in _AFTER:
        return _out_of_turn(now, decision.choice)
    if decision.choice is Choice.APPROVE:
        return _unapprovable(fix, decision)
    return None


def _out_of_turn(now: Standing, choice: Choice) -> str:
    said = now.value.replace("_", " ")
    done = {Choice.APPROVE: "approved", Choice.REJECT: "rejected", Choice.ROLLBACK: "rolled back"}[choice]
    if said == done:
        return f"it is {said} already"
    needed = "an approved" if choice is Choice.ROLLBACK else "a proposed"
    return f"it is {said}; only {needed} fix can be {done}"


def _unapprovable(fix: Fix, decision: Decision) -> str | None:
    if decision.fix_revision != fix.revision:
        return f"the fix is at revision {fix.revision} now, revision {decision.fix_revision} was looked at"
    if decision.at_ms >= fix.expires_ms:
        return "the proposal has expired; the objects may have moved on"
    if fix.risk is Risk.DISPLAY_ONLY:
        return "this fix is for display only"
    if fix.outcome is Outcome.FAILED:
        failed = ", ".join(one.check for one in fix.verdicts if one.outcome is Outcome.FAILED)
        return f"it failed: {failed}"
    return None


def _entry(decision: Decision, outcome: str, reason: str, commands: tuple[str, ...]) -> AuditEntry:
    what = f"fix.{decision.choice.value}"
    said = (decision.fix_id, decision.fix_revision, what, decision.who, decision.at_ms)
    return AuditEntry(
        id=content_id("aud", *said, outcome, reason),
        at_ms=decision.at_ms,
        who=decision.who,
        what=what,
        subject=decision.fix_id,
        outcome=outcome,
        reason=reason,
        commands=commands,
    )
