"""Renders actions as the kubectl commands that a person would run. Nothing here runs them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from engine.types import Action


def kubectl_command(one: Action) -> str:
    """Return one shell command; the kind is written with version and group, so that no other resource can be meant."""
    group, _, version = one.api_version.rpartition("/")
    resource = f"{one.kind.lower()}.{version}.{group}" if group else one.kind.lower()
    where = [] if one.namespace in ("", "-") else ["-n", one.namespace]
    if one.verb == "create":
        return f"printf %s {shlex.quote(one.body)} | kubectl create -f -"
    if one.verb == "delete":
        return shlex.join(["kubectl", "delete", resource, one.name, *where])
    return shlex.join(["kubectl", "patch", resource, one.name, *where, "--type=json", "-p", one.body])


def kubectl_script(actions: Sequence[Action]) -> list[str]:
    """Return the commands for `actions`, in order; try them with `--dry-run=server` first."""
    return [kubectl_command(one) for one in actions]
