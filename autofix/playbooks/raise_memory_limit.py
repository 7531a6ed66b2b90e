"""Raise a memory limit after OOM kills: half as much again, within the namespace's quota and limit range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from autofix.patch import Manifest, edit
from autofix.playbooks.wording import clock, onset_ms, short
from autofix.quantities import format_mebibytes, parse_quantity
from autofix.situation import Declined, Draft, Situation
from autofix.workloads import containers, member, objects, of_kind, radius, workloads_of
from engine.errors import DataError
from engine.ids import scope_of
from engine.inventory import ObjectKey
from engine.types import Risk

_STALE_MS = 60 * 60_000  # a kill an hour before the first sign belongs to another story
_OOM = ("oomkill", "out of memory", "outofmemory")


@dataclass(frozen=True, slots=True)
class RaiseMemoryLimit:
    """Multiplies the memory limit of the container that was killed for want of memory.

    Buys time against a leak and cures a limit that was set too low; it cannot tell which of the two it is.

    factor
        how much more (1.5: enough to notice, small enough for most nodes), at least above 1
    """

    factor: float = 1.5
    name: str = "raise_memory_limit"

    def propose(self, situation: Situation) -> Draft | Declined:
        """Return the patch to the higher limit, or why there is none."""
        sign = _oom_sign(situation)
        killed = _killed_containers(situation)
        if sign is None and not killed:
            return self._decline(f"no OOM kill of {short(situation.entity)} was seen")
        workloads = workloads_of(situation.inventory, situation.entity)
        if len(workloads) != 1:
            return self._decline(f"{short(situation.entity)} has {len(workloads)} workloads in the inventory, not one")
        key, manifest = workloads[0]
        limited = [one for one in containers(manifest) if member(one, "resources", "limits", "memory") is not None]
        if killed:
            limited = [one for one in limited if one.get("name") in killed]
        if len(limited) != 1:
            return self._decline(f"which container of {key[3]} was killed is not clear: {len(limited)} have a limit")
        try:
            return self._draft(situation, key, manifest, limited[0], sign or "its pods' status says OOMKilled")
        except DataError as error:
            return self._decline(str(error))

    def _draft(
        self, situation: Situation, key: ObjectKey, manifest: Manifest, one: Manifest, sign: str
    ) -> Draft | Declined:
        old = one["resources"]["limits"]["memory"]
        before_bytes = parse_quantity(old)
        new = format_mebibytes(before_bytes * Fraction(self.factor).limit_denominator(1000))
        more_bytes = parse_quantity(new) - before_bytes
        if more_bytes <= 0:
            return self._decline(f"the limit {old} of {one['name']} does not grow by a factor of {self.factor}")
        refusal = _no_room(situation, key, more_bytes, parse_quantity(new), manifest)
        if refusal:
            return self._decline(refusal)
        action, undo = edit(key, manifest, _with_limit(manifest, str(one["name"]), new))
        return Draft(
            playbook=self.name,
            title=f"Raise the memory limit of {key[1]} {key[3]}, container {one['name']}: {old} -> {new}",
            rationale=f"{short(situation.entity)} was killed for want of memory: {sign}. Its limit is {old}.",
            actions=(action,),
            undo=(undo,),
            risk=Risk.NEEDS_APPROVAL,
            blast_radius=radius(situation.entity, situation.cause.path),
        )

    def _decline(self, reason: str) -> Declined:
        return Declined(self.name, reason)


def _oom_sign(situation: Situation) -> str | None:
    """Return the first sign of an OOM kill among the cause's anomalies and evidence, in words."""
    for anomaly in situation.anomalies():
        if any(word in f"{anomaly.indicator} {anomaly.text}".lower() for word in _OOM):
            return f"{anomaly.indicator} {anomaly.observed:g} at {clock(anomaly.start_ms)}"
    for line in situation.signs():
        if any(word in f"{line.indicator} {line.text}".lower() for word in _OOM):
            return line.text or f"{line.indicator} at {clock(line.at_ms)}"
    return None


def _killed_containers(situation: Situation) -> set[str]:
    """Return the names of the cause's containers whose status tells of an OOM kill that is not old news."""
    killed = set()
    since_ms = onset_ms(situation) - _STALE_MS
    for _, version, manifest in of_kind(situation.inventory, "Pod", scope_of(situation.entity)):
        for status in objects(manifest, "status", "containerStatuses") if version.entity == situation.entity else ():
            ends = (member(status, state, "terminated") for state in ("state", "lastState"))
            if any(member(end, "reason") == "OOMKilled" and _ended_ms(end) >= since_ms for end in ends):
                killed.add(str(status.get("name")))
    return killed


def _ended_ms(terminated: object) -> float:
    """Return when a container ended; minus infinity when its status does not say."""
    try:
        return datetime.fromisoformat(str(member(terminated, "finishedAt"))).timestamp() * 1000
    except ValueError:
        return -math.inf


def _no_room(
    situation: Situation, key: ObjectKey, more_bytes: Fraction, limit_bytes: Fraction, manifest: Manifest
) -> str | None:
    """Return why the quota or the limit range of the namespace forbids the new limit, or None."""
    scope = scope_of(situation.entity)
    pods = member(manifest, "spec", "replicas")
    for (_, _, namespace, name), _, quota in of_kind(situation.inventory, "ResourceQuota", scope):
        hard = member(quota, "spec", "hard", "limits.memory")
        if namespace != key[2] or hard is None:
            continue
        used = member(quota, "status", "used", "limits.memory")
        if used is None or not isinstance(pods, int):
            return f"how much of quota {name} is used is not known"
        if parse_quantity(used) + more_bytes * pods > parse_quantity(hard):
            return f"quota {name} leaves no room: {used} of {hard} used, {pods} pods"
    for (_, _, namespace, name), _, limits in of_kind(situation.inventory, "LimitRange", scope):
        for rule in objects(limits, "spec", "limits") if namespace == key[2] else ():
            most = member(rule, "max", "memory")
            if rule.get("type") == "Container" and most is not None and limit_bytes > parse_quantity(most):
                return f"limit range {name} allows {most} at most"
    return None


def _with_limit(manifest: Manifest, container: str, limit: str) -> Manifest:
    spec = manifest["spec"]
    pod = spec["template"]["spec"]
    changed = [
        {**one, "resources": {**one["resources"], "limits": {**one["resources"]["limits"], "memory": limit}}}
        if one.get("name") == container
        else one
        for one in pod["containers"]
    ]
    return {**manifest, "spec": {**spec, "template": {**spec["template"], "spec": {**pod, "containers": changed}}}}
