"""Offers fixes: asks every playbook about an incident's likeliest causes, proves each draft, keeps every reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from autofix.patch import target_of
from autofix.policy import PolicyConfig
from autofix.prove import prove
from autofix.registry import PLAYBOOKS, playbook
from autofix.situation import Declined, Draft, Playbook, Situation
from autofix.validate import schema_version
from engine.errors import ConfigError, DataError
from engine.ids import content_id
from engine.inventory import Inventory
from engine.types import Fix, Incident, Outcome, Ranking


@dataclass(frozen=True, slots=True)
class ProposerConfig:
    """Which playbooks may propose, within which policy.

    playbooks
        names, in order of preference; default: all of `autofix.registry`
    max_causes
        how many of the ranked causes are asked about (3: below that a fix is guesswork)
    min_score
        a cause below this score gets no fix (0.2)
    min_share
        nor does one whose score is below this share of the first cause's (2/3: the runner-up only if it is close)
    expires_after_ms
        how long a proposal may be approved (1 h: after that the objects have moved on)
    kubernetes
        version whose schemas validate, such as "1.32"; "" for the newest known
    """

    playbooks: tuple[str, ...] = tuple(one.name for one in PLAYBOOKS)
    max_causes: int = 3
    min_score: float = 0.2
    min_share: float = 2 / 3
    expires_after_ms: int = 60 * 60_000
    kubernetes: str = ""
    policy: PolicyConfig = field(default_factory=PolicyConfig)

    def __post_init__(self) -> None:
        if self.max_causes < 1 or self.expires_after_ms < 1 or min(self.min_score, self.min_share) < 0:
            raise ConfigError("autofix: max_causes and expires_after_ms must be positive, scores and shares at least 0")
        for name in self.playbooks:
            playbook(name)

    def build(self) -> PlaybookProposer:
        """Return the proposer; raise ConfigError when the schemas wanted are not at hand."""
        schema_version(self.kubernetes)
        return PlaybookProposer(self, tuple(playbook(name) for name in self.playbooks))


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a playbook offered nothing for an entity."""

    playbook: str
    entity: str
    reason: str


@dataclass(frozen=True, slots=True)
class Considered:
    """All that came of asking: fixes, best first; drafts that failed a check; and why the other playbooks declined."""

    fixes: tuple[Fix, ...]
    withheld: tuple[Fix, ...]
    declined: tuple[Reason, ...]


class PlaybookProposer:
    """Proposes by playbooks (engine.ports.Proposer). Holds no state."""

    __slots__ = ("_config", "_playbooks")

    def __init__(self, config: ProposerConfig, playbooks: Sequence[Playbook]) -> None:
        self._config = config
        self._playbooks = tuple(playbooks)

    def propose(self, incident: Incident, ranking: Ranking, inventory: Inventory, now_ms: int) -> Sequence[Fix]:
        """Return fixes that failed no check, best first; an empty list when there is none or the ranking abstains."""
        return self.consider(incident, ranking, inventory, now_ms).fixes

    def consider(self, incident: Incident, ranking: Ranking, inventory: Inventory, now_ms: int) -> Considered:
        """Return the fixes, the drafts that failed a check, and the reason of every playbook that declined."""
        offered: list[tuple[tuple[int, int, str], Fix]] = []
        declined: list[Reason] = []
        for rank, cause in enumerate(ranking.causes[: self._config.max_causes]):
            least = max(self._config.min_score, self._config.min_share * ranking.causes[0].score)
            if cause.score < least:
                reason = f"score {cause.score:.2f} is below {least:.2g}"
                declined.append(Reason("all", cause.entity, reason))
                continue
            situation = Situation(incident, cause, inventory, now_ms)
            for order, one in enumerate(self._playbooks):
                result = _ask(one, situation)
                if isinstance(result, Declined):
                    declined.append(Reason(result.playbook, cause.entity, result.reason))
                else:
                    fix = self._fix(result, situation)
                    offered.append(((rank, order, fix.id), fix))
        first = _without_repeats([fix for _, fix in sorted(offered, key=lambda pair: pair[0])])
        return Considered(
            fixes=tuple(fix for fix in first if fix.outcome is not Outcome.FAILED),
            withheld=tuple(fix for fix in first if fix.outcome is Outcome.FAILED),
            declined=tuple(declined),
        )

    def _fix(self, draft: Draft, situation: Situation) -> Fix:
        targets = [target_of(one) for one in draft.actions]
        return Fix(
            id=content_id("fix", situation.incident.id, draft.playbook, targets),
            revision=situation.incident.revision,
            incident_id=situation.incident.id,
            playbook=draft.playbook,
            entity=situation.entity,
            title=draft.title,
            rationale=draft.rationale,
            actions=draft.actions,
            undo=draft.undo,
            risk=draft.risk,
            blast_radius=draft.blast_radius,
            expires_ms=situation.now_ms + self._config.expires_after_ms,
            verdicts=prove(draft, situation.inventory, self._config.policy, self._config.kubernetes),
        )


def _ask(one: Playbook, situation: Situation) -> Draft | Declined:
    try:
        return one.propose(situation)
    except DataError as error:  # a manifest in the inventory that cannot be read
        return Declined(one.name, str(error))


def _without_repeats(fixes: list[Fix]) -> list[Fix]:
    """Return the fixes without later ones of the same id: two causes may ask for the same patch."""
    return list({fix.id: fix for fix in reversed(fixes)}.values())[::-1]
