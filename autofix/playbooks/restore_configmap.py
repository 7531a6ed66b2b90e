"""Restore a changed ConfigMap: the data as they were before the change that preceded the first sign."""

from __future__ import annotations

from dataclasses import dataclass

from autofix.patch import Manifest, edit, parse_manifest
from autofix.playbooks.restart_stuck_workload import restarted
from autofix.playbooks.wording import first_sign_after, relative, short, strongest_signs
from autofix.situation import Declined, Draft, Situation
from autofix.workloads import changed_object, config_map_names, newest_manifest, of_kind, radius
from engine.ids import scope_of
from engine.inventory import ObjectKey
from engine.types import Action, Change, Risk

_DATA = ("data", "binaryData")
_USERS = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True, slots=True)
class RestoreConfigMap:
    """Patches `data` and `binaryData` of a ConfigMap that the cause uses back to the version before the change.

    Workloads that read it through environment variables or `subPath` notice nothing until they restart, so they are
    restarted in the same fix. Blind to configuration outside ConfigMaps.

    lookback_ms
        how long before the first sign the change may have been (30 min)
    grace_ms
        how long after the first sign it may have been stamped
    """

    lookback_ms: int = 30 * 60_000
    grace_ms: int = 60_000
    name: str = "restore_configmap"

    def propose(self, situation: Situation) -> Draft | Declined:
        """Return the patch to the previous data, or why there is none."""
        found = self._suspect(situation)
        if found is None:
            return self._decline(f"no ConfigMap of {short(situation.entity)} changed shortly before its first sign")
        change, sign_ms, key = found
        manifest = newest_manifest(situation.inventory, key)
        before = situation.inventory.version(change.before) if change.before else None
        if manifest is None:
            return self._decline(f"ConfigMap {key[3]} no longer exists")
        if before is None or before.deleted:
            return self._decline(f"the version of ConfigMap {key[3]} before '{change.summary}' is no longer kept")
        if manifest.get("immutable") is True:
            return self._decline(f"ConfigMap {key[3]} is immutable")
        restored = _with_data_of(manifest, parse_manifest(before.manifest))
        if restored == manifest:
            return self._decline(f"ConfigMap {key[3]} already holds the data from before '{change.summary}'")
        return self._draft(situation, change, sign_ms, key, manifest, restored)

    def _suspect(self, situation: Situation) -> tuple[Change, int, ObjectKey] | None:
        for change in situation.changes("config"):
            key = changed_object(situation.inventory, change)
            sign_ms = first_sign_after(change, situation, self.lookback_ms, self.grace_ms)
            if sign_ms is not None and key is not None and key[1] == "ConfigMap":
                entities = {entity for entity, _, _, _ in _users(situation, key)}
                if situation.entity in entities | {change.entity}:
                    return change, sign_ms, key
        return None

    def _draft(
        self, situation: Situation, change: Change, sign_ms: int, key: ObjectKey, manifest: Manifest, restored: Manifest
    ) -> Draft:
        action, undo = edit(key, manifest, restored)
        users = _users(situation, key)
        actions, undos = [action], [undo]
        for entity, workload, one, needs_restart in users:
            if needs_restart and entity == situation.entity:
                pair = _restart(workload, one, situation.now_ms)
                actions.append(pair[0])
                undos.append(pair[1])
        restart = ", and its pods restart to read them" if len(actions) > 1 else ""
        return Draft(
            playbook=self.name,
            title=f"Restore ConfigMap {key[3]}: undo '{change.summary}'",
            rationale=(
                f"'{change.summary}' came {relative(change, sign_ms)}, and {short(situation.entity)} uses it: "
                f"{strongest_signs(situation)}. The data go back to what they were before{restart}."
            ),
            actions=tuple(actions),
            undo=tuple(reversed(undos)),
            risk=Risk.NEEDS_APPROVAL,
            blast_radius=radius(situation.entity, situation.cause.path, (entity for entity, _, _, _ in users)),
        )

    def _decline(self, reason: str) -> Declined:
        return Declined(self.name, reason)


def _restart(key: ObjectKey, manifest: Manifest, now_ms: int) -> tuple[Action, Action]:
    return edit(key, manifest, restarted(manifest, now_ms))


def _users(situation: Situation, config_map: ObjectKey) -> list[tuple[str, ObjectKey, Manifest, bool]]:
    """Return (entity, workload, manifest, needs a restart) of every workload that uses a ConfigMap, by key."""
    found = []
    for kind in _USERS:
        for key, version, manifest in of_kind(situation.inventory, kind, scope_of(situation.entity)):
            uses = config_map_names(manifest)
            if key[2] == config_map[2] and config_map[3] in uses:
                found.append((version.entity, key, manifest, uses[config_map[3]]))
    return found


def _with_data_of(manifest: Manifest, before: Manifest) -> Manifest:
    kept = {name: value for name, value in manifest.items() if name not in _DATA}
    return {**kept, **{name: before[name] for name in _DATA if name in before}}
