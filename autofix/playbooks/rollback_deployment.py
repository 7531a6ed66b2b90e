"""Roll back a bad deployment: the pod template as it was before the rollout after which signs began."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autofix.patch import Manifest, canonical, edit, parse_manifest
from autofix.playbooks.wording import first_sign_after, relative, short, strongest_signs
from autofix.situation import Declined, Draft, Situation
from autofix.workloads import WORKLOAD_KINDS, changed_object, member, newest_manifest, of_kind, radius
from engine.ids import scope_of
from engine.inventory import ObjectKey
from engine.types import Change, Risk

_HASH_LABEL = "pod-template-hash"  # added by the Deployment controller to its ReplicaSets; not in the Deployment
_REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class RollbackDeployment:
    """Patches `spec.template` back to the version before the rollout; exactly that version, nothing else.

    Blind to changes that no object shows (a feature flag, a moved image tag).

    lookback_ms
        how long before its first sign a rollout may have been (30 min: slow leaks need longer than crashes)
    grace_ms
        how long after the first sign it may have been stamped: windows close late, clocks differ
    """

    lookback_ms: int = 30 * 60_000
    grace_ms: int = 60_000
    name: str = "rollback_deployment"

    def propose(self, situation: Situation) -> Draft | Declined:
        """Return the patch to the template before the rollout, or why there is none."""
        found = self._suspect(situation)
        if found is None:
            return self._decline(f"no deployment of {short(situation.entity)} shortly before its first sign")
        change, sign_ms = found
        key = changed_object(situation.inventory, change) or _only_deployment(situation)
        manifest = newest_manifest(situation.inventory, key) if key is not None else None
        if key is None or manifest is None or key[1] not in WORKLOAD_KINDS:
            return self._decline(f"the deployed object of '{change.summary}' is not in the inventory")
        previous = _template_before(situation, change, key)
        if previous is None:
            return self._decline(f"the version before '{change.summary}' is no longer kept")
        if canonical(previous) == canonical(member(manifest, "spec", "template")):
            return self._decline(f"{short(situation.entity)} already runs the template from before '{change.summary}'")
        return self._draft(situation, change, sign_ms, key, manifest, previous)

    def _suspect(self, situation: Situation) -> tuple[Change, int] | None:
        """Return the newest deployment that may have caused signs, and when the first of these began."""
        for one in situation.changes("deployment"):
            if one.entity == situation.entity:
                sign_ms = first_sign_after(one, situation, self.lookback_ms, self.grace_ms)
                if sign_ms is not None:
                    return one, sign_ms
        return None

    def _draft(
        self, situation: Situation, change: Change, sign_ms: int, key: ObjectKey, manifest: Manifest, previous: Any
    ) -> Draft:
        restored = {**manifest, "spec": {**manifest["spec"], "template": previous}}
        action, undo = edit(key, manifest, restored)
        return Draft(
            playbook=self.name,
            title=f"Roll back {key[1]} {key[3]}: undo '{change.summary}'",
            rationale=(
                f"'{change.summary}' came {relative(change, sign_ms)}, and {short(situation.entity)} is the "
                f"likeliest cause: {strongest_signs(situation)}. The pod template goes back to what it was before."
            ),
            actions=(action,),
            undo=(undo,),
            risk=Risk.NEEDS_APPROVAL,
            blast_radius=radius(situation.entity, situation.cause.path),
        )

    def _decline(self, reason: str) -> Declined:
        return Declined(self.name, reason)


def _only_deployment(situation: Situation) -> ObjectKey | None:
    keys = [key for key in situation.inventory.of_entity(situation.entity) if key[1] in WORKLOAD_KINDS]
    return keys[0] if len(keys) == 1 else None


def _template_before(situation: Situation, change: Change, key: ObjectKey) -> Any:
    """Return the pod template before the change, from the object's own versions or else from its ReplicaSets."""
    version = situation.inventory.version(change.before) if change.before else None
    if version is not None and not version.deleted:
        return member(parse_manifest(version.manifest), "spec", "template")
    return _previous_revision(situation, key)


def _previous_revision(situation: Situation, key: ObjectKey) -> Any:
    """Return the template of the second newest ReplicaSet that a Deployment owns, without the controller's label."""
    owned: list[tuple[int, str, Manifest]] = []
    for (_, _, namespace, name), _, manifest in of_kind(situation.inventory, "ReplicaSet", scope_of(situation.entity)):
        owners = member(manifest, "metadata", "ownerReferences") or []
        revision = str(member(manifest, "metadata", "annotations", _REVISION) or "")
        mine = any((member(one, "kind"), member(one, "name")) == (key[1], key[3]) for one in owners)
        if namespace == key[2] and mine and revision.isdigit():
            owned.append((int(revision), name, manifest))
    if len(owned) < 2:
        return None
    template = member(sorted(owned, key=lambda one: one[:2])[-2][2], "spec", "template")
    labels = {k: v for k, v in (member(template, "metadata", "labels") or {}).items() if k != _HASH_LABEL}
    return {**template, "metadata": {**template["metadata"], "labels": labels}} if template else None
