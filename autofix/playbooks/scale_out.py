"""Scale out on saturation: half as many replicas again, unless an autoscaler owns the number."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autofix.patch import edit
from autofix.playbooks.wording import clock, recent_deployment, short, strongest_signs
from autofix.situation import Declined, Draft, Situation
from autofix.workloads import autoscaler_of, member, radius, workloads_of
from engine.ids import scope_of
from engine.types import Anomaly, Risk

_SATURATION = ("cpu", "throttl", "queue", "saturation", "backlog")


@dataclass(frozen=True, slots=True)
class ScaleOut:
    """Adds replicas to a Deployment whose CPU, throttling or queue left what was expected, upwards.

    Requests in flight are no sign: they pile up behind any slow call.

    Helps against load; a bad version eats the new replicas too, which is why a rollback ranks before it. StatefulSets
    are left alone: a new member of a store is more than one more pod.

    factor
        how many replicas after, per replica before (1.5), rounded up and at least one more
    recent_ms
        a deployment this shortly before the first sign makes the playbook stand aside (30 min)
    """

    factor: float = 1.5
    recent_ms: int = 30 * 60_000
    name: str = "scale_out"

    def propose(self, situation: Situation) -> Draft | Declined:
        """Return the patch to more replicas, or why there is none."""
        sign = next((one for one in situation.anomalies() if _saturated(one)), None)
        if sign is None:
            return self._decline(f"nothing says that {short(situation.entity)} is saturated")
        change = recent_deployment(situation, self.recent_ms)
        if change is not None:
            return self._decline(f"'{change.summary}' came just before; more replicas would run the same")
        found = [one for one in workloads_of(situation.inventory, situation.entity) if one[0][1] == "Deployment"]
        if len(found) != 1:
            return self._decline(f"{short(situation.entity)} has {len(found)} Deployments in the inventory, not one")
        key, manifest = found[0]
        autoscaler = autoscaler_of(situation.inventory, key, scope_of(situation.entity))
        if autoscaler is not None:
            return self._decline(f"autoscaler {autoscaler} owns the replicas of {key[3]}")
        replicas = member(manifest, "spec", "replicas")
        if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 1:
            return self._decline(f"the replicas of {key[3]} are {replicas!r}: stopped on purpose, or owned by another")
        more = max(replicas + 1, math.ceil(replicas * self.factor))
        action, undo = edit(key, manifest, {**manifest, "spec": {**manifest["spec"], "replicas": more}})
        return Draft(
            playbook=self.name,
            title=f"Scale out Deployment {key[3]}: {replicas} -> {more} replicas",
            rationale=(
                f"{short(situation.entity)} is saturated since {clock(sign.start_ms)} ({sign.indicator} "
                f"{sign.observed:g}): {strongest_signs(situation)}. No autoscaler owns its replicas."
            ),
            actions=(action,),
            undo=(undo,),
            risk=Risk.SAFE,
            blast_radius=radius(situation.entity, situation.cause.path),
        )

    def _decline(self, reason: str) -> Declined:
        return Declined(self.name, reason)


def _saturated(anomaly: Anomaly) -> bool:
    indicator = anomaly.indicator.lower()
    plain = not indicator.startswith(("span.", "log.", "event.", "cost."))
    return plain and anomaly.direction > 0 and any(word in indicator for word in _SATURATION)
