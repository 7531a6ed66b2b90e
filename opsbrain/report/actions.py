"""Actions of a fix as people read and run them: YAML, and the kubectl commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import yaml

from autofix.render import kubectl_script
from engine.types import Action


@dataclass(frozen=True, slots=True)
class Shown:
    """One action: a heading, its body as YAML."""

    heading: str
    body: str


@dataclass(frozen=True, slots=True)
class Script:
    """Some actions, and the commands a person would run for them."""

    actions: tuple[Shown, ...]
    commands: str


def script(actions: Sequence[Action]) -> Script:
    """Return `actions` as they are shown."""
    return Script(tuple(_shown(one) for one in actions), "\n".join(kubectl_script(actions)))


def _shown(action: Action) -> Shown:
    where = "" if action.namespace in ("", "-") else f"{action.namespace}/"
    return Shown(f"{action.verb} {action.kind} {where}{action.name}", _yaml(action.body))


def _yaml(body: str) -> str:
    if not body.strip():
        return ""
    try:
        return yaml.safe_dump(msgspec.json.decode(body), sort_keys=False, allow_unicode=True, width=100)
    except msgspec.DecodeError:
        return body
