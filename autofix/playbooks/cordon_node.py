"""Cordon a failing node: no new pods land on it; those that run there stay."""

from __future__ import annotations

from dataclasses import dataclass

from autofix.patch import Manifest, edit
from autofix.playbooks.wording import counted, short, strongest_signs
from autofix.situation import Declined, Draft, Situation
from autofix.workloads import member, newest_manifest, objects, of_kind, radius
from engine.ids import scope_of
from engine.types import Risk

_FAILING = ("notready", "pressure", "unreachable", "disk_io_error", "io_error", "readonly", "kernel", "hardware")


@dataclass(frozen=True, slots=True)
class CordonNode:
    """Sets `spec.unschedulable` on the node that is the cause, as `kubectl cordon` does.

    Stands aside when no other node could take pods. It drains nothing: what runs there keeps running, for better or
    worse.

    others
        how many other ready, schedulable nodes there must be (1)
    """

    others: int = 1
    name: str = "cordon_node"

    def propose(self, situation: Situation) -> Draft | Declined:
        """Return the cordon, or why there is none."""
        kind, node = situation.entity.split("/", 2)[1], short(situation.entity)
        if kind != "node":
            return self._decline(f"the cause is a {kind or 'nameless thing'}, not a node")
        keys = [key for key in situation.inventory.of_entity(situation.entity) if key[1] == "Node"]
        manifest = newest_manifest(situation.inventory, keys[0]) if len(keys) == 1 else None
        if manifest is None:
            return self._decline(f"node {node} is not in the inventory")
        sign = _failing(situation, manifest)
        if sign is None:
            return self._decline(f"nothing says that node {node} fails now; a busy node still takes pods")
        if member(manifest, "spec", "unschedulable") is True:
            return self._decline(f"node {node} is cordoned already")
        spare = _others(situation, node)
        if len(spare) < self.others:
            return self._decline(f"only {len(spare)} other nodes are ready to take pods, {self.others} needed")
        cordoned = {**(manifest.get("spec") or {}), "unschedulable": True}
        action, undo = edit(keys[0], manifest, {**manifest, "spec": cordoned})
        return Draft(
            playbook=self.name,
            title=f"Cordon node {node}",
            rationale=(
                f"Node {node} is the likeliest cause and fails ({sign}): {strongest_signs(situation)}. "
                f"{counted(len(spare), 'other node')} can take pods; no new pod should land on this one."
            ),
            actions=(action,),
            undo=(undo,),
            risk=Risk.SAFE,
            blast_radius=radius(situation.entity, situation.cause.path, _running_on(situation, node)),
        )

    def _decline(self, reason: str) -> Declined:
        return Declined(self.name, reason)


def _failing(situation: Situation, manifest: Manifest) -> str | None:
    """Return what says that the node itself fails: its conditions, a change of them, events, disk or kernel errors."""
    if not situation.anomalies() and not any(one.kind != "topology" for one in situation.signs()):
        return None  # a condition may have stood like this for weeks
    for one in objects(manifest, "status", "conditions"):
        if one.get("status") == ("False" if one.get("type") == "Ready" else "True"):
            return f"{one.get('type')} is {one.get('status')}"
    for change in situation.changes("node"):
        if change.entity == situation.entity:
            return change.summary
    for anomaly in situation.anomalies():
        said = f"{anomaly.indicator} {anomaly.text}".lower()
        if anomaly.direction > 0 and any(word in said for word in _FAILING):
            return anomaly.indicator
    return None


def _others(situation: Situation, node: str) -> list[str]:
    return [
        key[3]
        for key, _, manifest in of_kind(situation.inventory, "Node", scope_of(situation.entity))
        if key[3] != node and _takes_pods(manifest)
    ]


def _takes_pods(manifest: Manifest) -> bool:
    ready = any(
        one.get("type") == "Ready" and one.get("status") == "True" for one in objects(manifest, "status", "conditions")
    )
    return ready and member(manifest, "spec", "unschedulable") is not True


def _running_on(situation: Situation, node: str) -> list[str]:
    return [
        version.entity
        for _, version, manifest in of_kind(situation.inventory, "Pod", scope_of(situation.entity))
        if member(manifest, "spec", "nodeName") == node
    ]
