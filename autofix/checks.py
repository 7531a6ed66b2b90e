"""Conformance checks: what every playbook has to keep, run on every registered one and on yours.

`run_all(playbook, situations)` returns what it found wrong, so a test reads `assert run_all(mine, mine_too) == []`.
At least one of the situations must be one in which the playbook has something to offer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from autofix.patch import Manifest, apply_operations, canonical, parse_manifest, parse_operations, resolve, target_of
from autofix.policy import PolicyConfig
from autofix.prove import prove
from autofix.situation import Declined, Draft, Playbook, Situation
from engine.errors import DataError
from engine.inventory import Inventory
from engine.types import Action, Outcome

Situations = Sequence[Situation]
Check = Callable[[Playbook, Situations], list[str]]


def _drafts(playbook: Playbook, situations: Situations) -> Iterator[tuple[Situation, Draft]]:
    for situation in situations:
        result = playbook.propose(situation)
        if isinstance(result, Draft):
            yield situation, result


def check_offers(playbook: Playbook, situations: Situations) -> list[str]:
    """Refuse a playbook that offers nothing in any of the situations: the other checks would be empty."""
    return [] if any(True for _ in _drafts(playbook, situations)) else ["it offers nothing in any of the situations"]


def check_proven(playbook: Playbook, situations: Situations) -> list[str]:
    """Refuse a draft that is invalid, not permitted, does not apply, or whose undo is not exact."""
    found: list[str] = []
    for situation, draft in _drafts(playbook, situations):
        verdicts = prove(draft, situation.inventory, PolicyConfig())[:-1]
        failed = (one for one in verdicts if one.outcome is not Outcome.PASSED)
        found.extend(f"{one.check}: {one.outcome.value}: {one.showed}" for one in failed)
    return found


def check_guarded(playbook: Playbook, situations: Situations) -> list[str]:
    """Refuse a patch that still applies after somebody else changed what it is about to write."""
    found = []
    for situation, draft in _drafts(playbook, situations):
        for one in draft.actions:
            newest = situation.inventory.newest(target_of(one))
            if one.verb != "patch" or newest is None:
                continue
            manifest = parse_manifest(newest.manifest)
            for path in _written(one):
                meddled = _meddle(manifest, path)
                if meddled is not None and _applies(meddled, one):
                    found.append(f"{one.kind} {one.name}: overwrites {path} whatever stands there")
    return found


def check_declines_without_facts(playbook: Playbook, situations: Situations) -> list[str]:
    """Refuse a playbook that acts on no objects or on no evidence, or that declines without a reason."""
    found = []
    for situation, _ in _drafts(playbook, situations):
        bare = replace(situation.incident, anomalies=(), changes=())
        unsaid = replace(situation.cause, evidence=())
        for what, poorer in (
            ("without objects", replace(situation, inventory=Inventory())),
            ("without anomalies, changes and evidence", replace(situation, incident=bare, cause=unsaid)),
        ):
            result = playbook.propose(poorer)
            if isinstance(result, Draft):
                found.append(f"it acts {what}")
            elif not result.reason.strip():
                found.append(f"it declines without a reason {what}")
    return found


def check_pure(playbook: Playbook, situations: Situations) -> list[str]:
    """Refuse a playbook that answers differently when asked twice, or that changes what it was given."""
    found = []
    for situation in situations:
        before = _contents(situation.inventory)
        first, second = playbook.propose(situation), playbook.propose(situation)
        if first != second:
            found.append("it answers differently when asked twice")
        if _contents(situation.inventory) != before:
            found.append("it changes the inventory")
    return found


def check_explains(playbook: Playbook, situations: Situations) -> list[str]:
    """Refuse a draft that does not name its playbook, its evidence or the entity that it touches."""
    found = []
    for situation, draft in _drafts(playbook, situations):
        if draft.playbook != playbook.name:
            found.append(f"the draft says it comes from '{draft.playbook}'")
        said = [one.indicator for one in situation.incident.anomalies] + [one.text for one in situation.cause.evidence]
        said += [one.summary for one in situation.incident.changes]
        if not any(text and text in draft.rationale for text in said):
            found.append("the rationale names none of the evidence")
        if situation.entity not in draft.blast_radius:
            found.append("the blast radius leaves out the entity itself")
        if not draft.title.strip():
            found.append("the draft has no title")
    return found


def check_other_entities_left_alone(playbook: Playbook, situations: Situations) -> list[str]:
    """Refuse a playbook that acts on an entity because something else of the same incident shows signs."""
    found = []
    for situation, _ in _drafts(playbook, situations):
        innocent = replace(situation.cause, entity="demo/service/shop/bystander", evidence=())
        if not isinstance(playbook.propose(replace(situation, cause=innocent)), Declined):
            found.append("it acts on a bystander")
    return found


CHECKS: Mapping[str, Check] = {
    "offers": check_offers,
    "proven": check_proven,
    "guarded": check_guarded,
    "declines without facts": check_declines_without_facts,
    "pure": check_pure,
    "explains": check_explains,
    "leaves others alone": check_other_entities_left_alone,
}


def run_all(playbook: Playbook, situations: Situations) -> list[str]:
    """Return everything that any check finds wrong; an empty list means that the playbook conforms."""
    return [f"{name}: {text}" for name, check in CHECKS.items() for text in check(playbook, situations)]


def _written(one: Action) -> list[str]:
    return [str(operation["path"]) for operation in parse_operations(one.body) if operation.get("op") != "test"]


def _meddle(manifest: Manifest, path: str) -> Manifest | None:
    """Return the manifest with another value at `path`, or None when there is no place for one."""
    try:
        found: Any = resolve(manifest, path)
    except DataError:
        found = None
    operation = "add" if found is None else "replace"
    try:
        return apply_operations(manifest, [{"op": operation, "path": path, "value": "somebody else's"}])
    except DataError:
        return None


def _applies(manifest: Manifest, one: Action) -> bool:
    try:
        apply_operations(manifest, parse_operations(one.body))
    except DataError:
        return False
    return True


def _contents(inventory: Inventory) -> str:
    keys = inventory.keys()
    return canonical([[list(key), [[one.id, one.manifest] for one in inventory.versions(key)]] for key in keys])
