"""Puts a draft through every check of `engine.types.CHECKS`, in order, and writes down what was run and what it showed.

A check that could not run is inconclusive, never passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autofix.patch import parse_manifest, target_of
from autofix.playbooks.wording import counted
from autofix.policy import Effect, Permitted, PolicyConfig
from autofix.sandbox import ShadowSandbox
from autofix.situation import Draft
from autofix.validate import check_manifest, schema_version
from engine.errors import DataError
from engine.inventory import Inventory, ObjectKey
from engine.types import CHECKS, Outcome, Verdict

_VALID, _PERMITTED, _APPLIES, _UNDO, _SYMPTOM = CHECKS

Manifests = Mapping[ObjectKey, str]


@dataclass(frozen=True, slots=True)
class _Trial:
    """What the shadow copy showed: its objects before, after, and after the undo, or what did not apply."""

    before: Manifests
    after: Manifests | None = None
    undone: Manifests | None = None
    failure: str = ""
    undo_failure: str = ""


def prove(draft: Draft, inventory: Inventory, policy: PolicyConfig, kubernetes: str = "") -> tuple[Verdict, ...]:
    """Return one verdict for each check, in their order.

    `kubernetes` is the version whose schemas hold ("" for the newest known). Costs about 10 ms an object.
    """
    trial = _try(draft, inventory)
    effects = _effects(draft, trial, inventory)
    return (
        _valid(effects, schema_version(kubernetes)),
        _permitted(draft, effects, policy),
        _applies(draft, trial),
        _undo_exact(draft, trial),
        Verdict(
            _SYMPTOM,
            Outcome.INCONCLUSIVE,
            "nothing",
            "the shadow copy runs no workload, so whether the symptom goes was not shown",
        ),
    )


def _try(draft: Draft, inventory: Inventory) -> _Trial:
    with ShadowSandbox(inventory) as sandbox:
        before = sandbox.observe()
        try:
            sandbox.apply(draft.actions)
        except DataError as error:
            return _Trial(before, failure=str(error))
        after = sandbox.observe()
        try:
            sandbox.apply(draft.undo)
        except DataError as error:
            return _Trial(before, after, undo_failure=str(error))
        return _Trial(before, after, sandbox.observe())


def _effects(draft: Draft, trial: _Trial, inventory: Inventory) -> list[Effect]:
    effects = []
    for key in sorted({target_of(one) for one in draft.actions}):
        before = trial.before.get(key)
        after = trial.after.get(key) if trial.after is not None else None
        if before is not None and after is not None:
            earlier = tuple(parse_manifest(one.manifest) for one in inventory.versions(key) if not one.deleted)
            effects.append(Effect(key, parse_manifest(before), parse_manifest(after), earlier))
    return effects


def _valid(effects: list[Effect], version: str) -> Verdict:
    ran = f"schemas of Kubernetes {version} on {counted(len(effects), 'patched object')}"
    if not effects:
        return Verdict(_VALID, Outcome.INCONCLUSIVE, "nothing", "there is no patched object to validate")
    shown: list[tuple[Outcome, str]] = []
    for effect in effects:
        outcome, showed = check_manifest(effect.after, version)
        if outcome is Outcome.FAILED and check_manifest(effect.before, version)[0] is Outcome.FAILED:
            outcome, showed = Outcome.INCONCLUSIVE, f"the object as recorded does not fit either: {showed}"
        shown.append((outcome, showed))
    outcomes = {outcome for outcome, _ in shown}
    worst = next((one for one in (Outcome.FAILED, Outcome.INCONCLUSIVE) if one in outcomes), Outcome.PASSED)
    return Verdict(_VALID, worst, ran, "; ".join(text for outcome, text in shown if outcome is worst))


def _permitted(draft: Draft, effects: list[Effect], policy: PolicyConfig) -> Verdict:
    ran = f"policy on {counted(len(draft.actions), 'action')} and {counted(len(effects), 'patched object')}"
    try:
        ruling = policy.judge(draft.actions, effects, draft.blast_radius, draft.undo)
    except DataError as error:
        return Verdict(_PERMITTED, Outcome.FAILED, ran, str(error))
    if isinstance(ruling, Permitted):
        return Verdict(_PERMITTED, Outcome.PASSED, ran, f"allowed; entities that may notice: {len(draft.blast_radius)}")
    return Verdict(_PERMITTED, Outcome.FAILED, ran, ruling.reason)


def _applies(draft: Draft, trial: _Trial) -> Verdict:
    ran = f"{counted(len(draft.actions), 'action')} on a shadow copy of {counted(len(trial.before), 'object')}"
    if trial.after is None:
        return Verdict(_APPLIES, Outcome.FAILED, ran, trial.failure)
    changed = _differing(trial.before, trial.after)
    if not changed:
        return Verdict(_APPLIES, Outcome.FAILED, ran, "nothing changed")
    return Verdict(_APPLIES, Outcome.PASSED, ran, f"changed {changed}")


def _undo_exact(draft: Draft, trial: _Trial) -> Verdict:
    ran = f"{counted(len(draft.undo), 'undo action')}, then every object compared with its canonical text before"
    if trial.after is None:
        return Verdict(_UNDO, Outcome.INCONCLUSIVE, "nothing", "the fix did not apply, so there was nothing to undo")
    if trial.undone is None:
        return Verdict(_UNDO, Outcome.FAILED, ran, trial.undo_failure)
    differing = _differing(trial.before, trial.undone)
    if differing:
        return Verdict(_UNDO, Outcome.FAILED, ran, f"differs after undo: {differing}")
    return Verdict(_UNDO, Outcome.PASSED, ran, f"{counted(len(trial.before), 'object')} compared, equal byte for byte")


def _differing(left: Manifests, right: Manifests) -> str:
    """Return the names of the objects that differ, in words; "" when there is none."""
    keys = sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
    return ", ".join(f"{key[1]} {key[3]}" for key in keys)
