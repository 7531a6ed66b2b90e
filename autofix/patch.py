"""JSON Patch (RFC 6902) with guards: every operation is preceded by `test`s of what it assumes.

Applying is the `jsonpatch` library's work; comparing for `test` is ours, by canonical JSON, because in Python
`1 == True` and a guard must not pass for that. Writing a patch is ours too: the order of operations must be the same
in every process, and a guarded patch needs its tests beside each operation.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from engine.errors import DataError
from engine.inventory import ObjectKey
from engine.types import Action

Manifest = dict[str, Any]
Operation = dict[str, Any]

_ENCODER = msgspec.json.Encoder(order="sorted")


def canonical(value: object) -> str:
    """Return `value` as JSON text with sorted keys, the form in which manifests are stored and compared."""
    return _ENCODER.encode(value).decode()


def parse_manifest(text: str) -> Manifest:
    """Return the manifest in `text`; raise DataError when it is no JSON object."""
    try:
        manifest = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise DataError(f"not a manifest: {error}") from error
    return manifest


def parse_operations(body: str) -> list[Operation]:
    """Return the operations in an action's body; raise DataError when they are no list of JSON objects."""
    try:
        return msgspec.json.decode(body, type=list[dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise DataError(f"not a JSON Patch: {error}") from error


def escape(name: str) -> str:
    """Return `name` as one token of a JSON Pointer (RFC 6901).

    >>> escape("kubectl.kubernetes.io/restartedAt")
    'kubectl.kubernetes.io~1restartedAt'
    """
    return name.replace("~", "~0").replace("/", "~1")


def resolve(document: object, pointer: str) -> Any:
    """Return what stands at `pointer`; raise DataError when nothing does."""
    import jsonpointer

    try:
        return jsonpointer.resolve_pointer(document, pointer)
    except jsonpointer.JsonPointerException as error:
        raise DataError(f"nothing at {pointer}: {error}") from error


def apply_operations(manifest: Mapping[str, Any], operations: Sequence[Operation]) -> Manifest:
    """Return a patched copy of `manifest`; raise DataError naming the first operation that does not apply."""
    import jsonpatch

    document: Any = copy.deepcopy(dict(manifest))
    for operation in operations:
        where = f"{operation.get('op')} {operation.get('path')}"
        if operation.get("op") == "test":
            _test(document, operation)
            continue
        try:
            document = jsonpatch.apply_patch(document, [operation], in_place=True)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            raise DataError(f"{where} does not apply: {error}") from error
    if not isinstance(document, dict):
        raise DataError("the patch leaves something that is no object")
    return document


def _test(document: object, operation: Operation) -> None:
    path = operation.get("path")
    if not isinstance(path, str) or "value" not in operation:
        raise DataError("a test needs a path and a value")
    found = resolve(document, path)
    if canonical(found) != canonical(operation["value"]):
        raise DataError(f"test {path} failed: expected {_short(operation['value'])}, found {_short(found)}")


def _short(value: object, limit: int = 80) -> str:
    text = canonical(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def guarded_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Operation]:
    """Return operations that turn `before` exactly into `after`, each preceded by tests of what it assumes.

    A value that is replaced or removed is tested first; where a member is added, the object that receives it is tested
    as a whole (absence has no test of its own in RFC 6902). List elements with a `name` are tested for that name, so
    that a patch never lands on another container. Lists whose length or names changed are replaced whole.
    Deterministic: members are visited in sorted order.
    """
    return list(_difference(before, after, ""))


def _difference(before: Any, after: Any, path: str) -> Iterator[Operation]:
    if canonical(before) == canonical(after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _of_members(before, after, path)
    elif _same_elements(before, after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            operations = list(_difference(old, new, f"{path}/{number}"))
            if operations and isinstance(old, Mapping):
                yield {"op": "test", "path": f"{path}/{number}/name", "value": old["name"]}
            yield from operations
    else:
        yield {"op": "test", "path": path, "value": before}
        yield {"op": "replace", "path": path, "value": after}


def _of_members(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[Operation]:
    added = sorted(after.keys() - before.keys())
    if added and path:  # first, while the receiving object still is as it was
        yield {"op": "test", "path": path, "value": before}
    elif added:  # a whole object never equals its record: its resourceVersion moves with every heartbeat
        yield {"op": "test", "path": "/kind", "value": before.get("kind")}
    for name in sorted(before.keys() | after.keys()):
        where = f"{path}/{escape(name)}"
        if name not in after:
            yield {"op": "test", "path": where, "value": before[name]}
            yield {"op": "remove", "path": where}
        elif name in added:
            yield {"op": "add", "path": where, "value": after[name]}
        else:
            yield from _difference(before[name], after[name], where)


def _same_elements(before: object, after: object) -> bool:
    """Return whether two lists hold the same named things in the same order, so that they can be patched in place."""
    if not (isinstance(before, list) and isinstance(after, list)) or len(before) != len(after):
        return False
    return all(
        isinstance(old, Mapping) and isinstance(new, Mapping) and "name" in old and old["name"] == new.get("name")
        for old, new in zip(before, after, strict=True)
    )


def patch_action(key: ObjectKey, operations: Sequence[Operation]) -> Action:
    """Return the action that does `operations` to the object `key`."""
    api_version, kind, namespace, name = key
    return Action("patch", api_version, kind, namespace, name, canonical(list(operations)))


def edit(key: ObjectKey, before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Action, Action]:
    """Return the guarded patch from `before` to `after` and the guarded patch back, which is its exact undo."""
    return patch_action(key, guarded_patch(before, after)), patch_action(key, guarded_patch(after, before))


def target_of(one: Action) -> ObjectKey:
    """Return the key of the object that an action is about."""
    return (one.api_version, one.kind, one.namespace, one.name)
