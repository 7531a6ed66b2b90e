"""What a fix may touch at all: allowed verbs, kinds and namespaces, and bounds on how much it changes.

The policy judges effects (manifest before and after), not intentions, so that a playbook of yours is held by it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autofix.patch import Manifest, parse_operations, target_of
from autofix.quantities import parse_quantity
from autofix.workloads import member, objects
from engine.errors import ConfigError, DataError
from engine.inventory import ObjectKey
from engine.redaction import MARK
from engine.types import Action

_OPERATIONS = ("test", "add", "replace", "remove")  # move and copy hide what they write


@dataclass(frozen=True, slots=True)
class Permitted:
    """Nothing forbids the fix."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What forbids the fix, in words for the operator."""

    reason: str


@dataclass(frozen=True, slots=True)
class Effect:
    """One object before and after the fix, and its earlier versions as far as they are kept."""

    key: ObjectKey
    before: Manifest
    after: Manifest
    earlier: tuple[Manifest, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """Bounds on every fix. Secrets are never touched, and no fix may gain privileges: that is no setting.

    verbs, kinds
        what may be done to what; deleting is not among the choices
    namespaces
        where; empty means everywhere that is not protected
    protected_namespaces
        never there
    max_replicas_factor, max_memory_factor
        how much more of either, at most; a value that an earlier version of the same object had is always allowed
    max_blast_radius
        how many entities may notice, at most
    redacted
        texts that stand for a value that was removed before it came here; a fix must never write one. The marks that
        reading puts in itself (`engine.redaction`) are refused wherever they occur in an operation, and are no setting
    """

    verbs: tuple[str, ...] = ("patch",)
    kinds: tuple[str, ...] = ("Deployment", "StatefulSet", "DaemonSet", "ConfigMap", "Node")
    namespaces: tuple[str, ...] = ()
    protected_namespaces: tuple[str, ...] = ("kube-system", "kube-public", "kube-node-lease")
    max_replicas_factor: float = 2.0
    max_memory_factor: float = 2.0
    max_blast_radius: int = 20
    redacted: tuple[str, ...] = ("***", "[redacted]", "<redacted>", "[scrubbed]", "redacted")

    def __post_init__(self) -> None:
        if "delete" in self.verbs:
            raise ConfigError("autofix.policy.verbs: a fix never deletes; take 'delete' out")
        if "Secret" in self.kinds:
            raise ConfigError("autofix.policy.kinds: a fix never touches Secrets; take 'Secret' out")
        if min(self.max_replicas_factor, self.max_memory_factor) < 1 or self.max_blast_radius < 1:
            raise ConfigError("autofix.policy: factors and max_blast_radius must be at least 1")

    def judge(
        self,
        actions: Sequence[Action],
        effects: Sequence[Effect],
        blast_radius: Sequence[str],
        undo: Sequence[Action] = (),
    ) -> Permitted | Refused:
        """Return whether the actions and their undo may be offered, or the first thing that forbids them."""
        if not actions:
            return Refused("there is nothing to do")
        if len(blast_radius) > self.max_blast_radius:
            return Refused(f"{len(blast_radius)} entities may notice, {self.max_blast_radius} at most are allowed")
        for reason in self._refusals(actions, effects, undo):
            return Refused(reason)
        return Permitted()

    def _refusals(self, actions: Sequence[Action], effects: Sequence[Effect], undo: Sequence[Action]) -> Iterator[str]:
        for one in actions:
            yield from self._of_action(one)
            yield from _marks("it", one)
        for one in undo:
            yield from _marks("its undo", one)
        seen = {effect.key for effect in effects}
        for one in actions:
            if target_of(one) not in seen:
                yield f"what it does to {one.kind} {one.name} is not known"
        for effect in effects:
            yield from self._of_effect(effect)

    def _of_action(self, one: Action) -> Iterator[str]:
        if one.verb not in self.verbs or one.verb == "delete":
            yield f"verb '{one.verb}' is not allowed"
        if one.kind == "Secret" or one.kind not in self.kinds:
            yield f"kind {one.kind} is not allowed"
        if one.namespace in self.protected_namespaces:
            yield f"namespace {one.namespace} is protected"
        if self.namespaces and one.namespace not in (*self.namespaces, "", "-"):
            yield f"namespace {one.namespace} is not among the allowed ones"
        if one.verb != "patch":
            return
        for operation in parse_operations(one.body):
            path = str(operation.get("path", ""))
            if operation.get("op") not in _OPERATIONS:
                yield f"operation '{operation.get('op')}' is not allowed"
            elif operation["op"] != "test" and not _touchable(path):
                yield f"{path or 'the whole object'} may not be written"

    def _of_effect(self, effect: Effect) -> Iterator[str]:
        yield from self._written_marks(effect)
        gained = sorted(_privileges(effect.after) - _privileges(effect.before))
        if gained:
            yield f"it would gain privileges: {', '.join(gained)}"
        known = _reach(effect.before).union(*(_reach(one) for one in effect.earlier))
        reached = sorted(_reach(effect.after) - known)
        if reached:
            yield f"it would reach what it never did: {', '.join(reached)}"
        yield from self._replicas(effect)
        yield from self._memory(effect)

    def _written_marks(self, effect: Effect) -> Iterator[str]:
        held = set(_texts(effect.before))
        for where, text in _texts(effect.after):
            if (where, text) not in held and text.strip().lower() in self.redacted:
                yield f"it would write '{text}' at {where}, which stands for a value that was not recorded"

    def _replicas(self, effect: Effect) -> Iterator[str]:
        path = ("spec", "replicas")
        before, after = member(effect.before, *path), member(effect.after, *path)
        if before == after:
            return
        if not isinstance(before, int) or not isinstance(after, int):
            yield f"replicas {before!r} -> {after!r} cannot be compared"
        elif after < before:
            yield f"replicas {before} -> {after}: a fix never scales in"
        elif after in [member(one, *path) for one in effect.earlier]:
            return
        elif after > max(before + 1, before * self.max_replicas_factor):
            yield f"replicas {before} -> {after} is more than {self.max_replicas_factor:g} times as many"

    def _memory(self, effect: Effect) -> Iterator[str]:
        before, after = _limits(effect.before), _limits(effect.after)
        earlier = [_limits(one) for one in effect.earlier]
        for name, old in sorted(before.items()):
            limit = after.get(name)
            if limit == old or any(one.get(name) == limit for one in earlier):
                continue
            if limit is None:
                yield f"it would take the memory limit off {name}"
                continue
            try:
                if parse_quantity(limit) > parse_quantity(old) * self.max_memory_factor:
                    more = f"more than {self.max_memory_factor:g} times as much"
                    yield f"memory limit of {name} {old} -> {limit} is {more}"
            except DataError as error:
                yield str(error)


def _marks(what: str, one: Action) -> Iterator[str]:
    """Yield what an action would send to the cluster in place of a value that was removed when it was read."""
    if one.verb != "patch":
        if MARK.search(one.body):
            yield f"{what} would write a mark into {one.kind} {one.name} where a value was not recorded"
        return
    for operation in parse_operations(one.body):
        does = "expect" if operation.get("op") == "test" else "write"
        for below, text in _texts(operation.get("value")):
            mark = MARK.search(text)
            if mark:
                where = f"{operation.get('path')}{below} of {one.kind} {one.name}"
                yield f"{what} would {does} '{mark[0]}' at {where}, which stands for a value that was not recorded"


def _touchable(path: str) -> bool:
    """Return whether a pointer leads into what fixes are about: specification, data, annotations; never identity."""
    return path.startswith(("/spec/", "/data", "/binaryData", "/metadata/annotations"))


def _limits(manifest: Manifest) -> dict[str, str]:
    limits = {}
    for one in objects(manifest, "spec", "template", "spec", "containers"):
        limit = member(one, "resources", "limits", "memory")
        if limit is not None:
            limits[str(one.get("name"))] = str(limit)
    return limits


def _privileges(manifest: Manifest) -> set[str]:
    """Return what a pod template is allowed beyond an ordinary pod, in words."""
    pod = member(manifest, "spec", "template", "spec")
    found = {name for name in ("hostNetwork", "hostPID", "hostIPC") if member(pod, name) is True}
    for volume in objects(pod, "volumes"):
        found |= {f"host path {path}" for path in [member(volume, "hostPath", "path")] if path}
    if isinstance(pod, Mapping):
        found |= set(_context(pod.get("securityContext"), "pod"))
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for one in objects(pod, kind):
            found |= set(_context(one.get("securityContext"), str(one.get("name"))))
    return found


def _reach(manifest: Manifest) -> set[str]:
    """Return the identities and secrets that a pod template uses, in words."""
    pod = member(manifest, "spec", "template", "spec")
    names = [("service account", member(pod, "serviceAccountName"))]
    names += [("secret", member(volume, "secret", "secretName")) for volume in objects(pod, "volumes")]
    for one in objects(pod, "containers") + objects(pod, "initContainers"):
        names += [("secret", member(source, "secretRef", "name")) for source in objects(one, "envFrom")]
        names += [("secret", member(source, "valueFrom", "secretKeyRef", "name")) for source in objects(one, "env")]
    return {f"{what} {name}" for what, name in names if name}


def _context(context: Any, owner: str) -> Iterator[str]:
    for name in ("privileged", "allowPrivilegeEscalation"):
        if member(context, name) is True:
            yield f"{owner}: {name}"
    if member(context, "runAsUser") == 0:
        yield f"{owner}: runAsUser 0"
    for capability in member(context, "capabilities", "add") or ():
        yield f"{owner}: capability {capability}"


def _texts(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (pointer, text) of every text in nested data."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name in sorted(value):
            yield from _texts(value[name], f"{path}/{name}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _texts(one, f"{path}/{number}")
