"""Restart a stuck workload: the `restartedAt` annotation, as `kubectl rollout restart` writes it."""

from __future__ import annotations

from dataclasses import dataclass

from autofix.patch import Manifest, edit
from autofix.playbooks.wording import clock, recent_deployment, short, stamp, strongest_signs
from autofix.situation import Declined, Draft, Situation
from autofix.workloads import member, radius, workloads_of
from engine.types import Anomaly, Risk

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"

_STUCK_EVENTS = ("event.Unhealthy", "event.ProbeWarning")
_WORDS = ("deadlock", "stuck", "hung", "starv", "pool exhausted", "too many open files")


@dataclass(frozen=True, slots=True)
class RestartStuckWorkload:
    """Restarts pods one by one when the cause stopped answering, holds on to memory, or says that it is stuck.

    A crash loop is no reason: it restarts already. A rollout just before is none either: going back is better.

    recent_ms
        a deployment this shortly before the first sign makes the playbook stand aside (30 min)
    """

    recent_ms: int = 30 * 60_000
    name: str = "restart_stuck_workload"

    def propose(self, situation: Situation) -> Draft | Declined:
        """Return the restart, or why there is none."""
        sign = next((one for one in situation.anomalies() if _stuck(one)), None)
        if sign is None:
            return self._decline(f"nothing says that {short(situation.entity)} is stuck")
        change = recent_deployment(situation, self.recent_ms)
        if change is not None:
            return self._decline(f"'{change.summary}' came just before; a restart would start the same again")
        workloads = workloads_of(situation.inventory, situation.entity)
        if len(workloads) != 1:
            return self._decline(f"{short(situation.entity)} has {len(workloads)} workloads in the inventory, not one")
        key, manifest = workloads[0]
        if member(manifest, "spec", "template", "metadata") is None:
            return self._decline(f"{key[1]} {key[3]} shows no pod template")
        action, undo = edit(key, manifest, restarted(manifest, situation.now_ms))
        return Draft(
            playbook=self.name,
            title=f"Restart {key[1]} {key[3]}",
            rationale=(
                f"{short(situation.entity)} looks stuck since {clock(sign.start_ms)} ({sign.indicator}): "
                f"{strongest_signs(situation)}. Its pods are replaced as its update strategy says."
            ),
            actions=(action,),
            undo=(undo,),
            risk=Risk.SAFE if _rolls(manifest) else Risk.NEEDS_APPROVAL,
            blast_radius=radius(situation.entity, situation.cause.path),
        )

    def _decline(self, reason: str) -> Declined:
        return Declined(self.name, reason)


def _stuck(anomaly: Anomaly) -> bool:
    indicator = anomaly.indicator
    if indicator == "span.rate":
        return anomaly.direction < 0
    if "memory" in indicator.lower() or "heap" in indicator.lower():
        return anomaly.direction > 0
    if indicator.startswith("log."):
        return any(word in anomaly.text.lower() for word in _WORDS)
    return indicator in _STUCK_EVENTS


def _rolls(manifest: Manifest) -> bool:
    """Return whether a restart leaves pods that answer: several replicas, replaced one after the other."""
    replicas = member(manifest, "spec", "replicas")
    strategy = member(manifest, "spec", "strategy", "type") or member(manifest, "spec", "updateStrategy", "type")
    return isinstance(replicas, int) and replicas > 1 and strategy in (None, "RollingUpdate")


def restarted(manifest: Manifest, now_ms: int) -> Manifest:
    """Return a workload's manifest with its pods to be restarted as of `now_ms`."""
    template = manifest["spec"]["template"]
    metadata = template.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), RESTARTED_AT: stamp(now_ms)}
    stamped = {**template, "metadata": {**metadata, "annotations": annotations}}
    return {**manifest, "spec": {**manifest["spec"], "template": stamped}}
