"""Where `incidents` and `fixes` look: the store of `opsbrain up`, or the folder of an export."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from engine.errors import SourceError
from engine.types import Fix, Incident
from opsbrain.export import Revised, newest, read_export
from opsbrain.settings_load import load_settings
from opsbrain.store import Store

From = Annotated[
    Path | None,
    typer.Option("--export", metavar="DIR", help="Look into an export (`replay --out`) instead of the store."),
]

R = TypeVar("R", bound=Revised)


@dataclass(frozen=True, slots=True)
class Concluded:
    """The newest revision of everything; `standings` say where fixes stand, by id."""

    incidents: Sequence[Incident]
    fixes: Sequence[Fix]
    standings: dict[str, str]

    def incident(self, start: str) -> Incident:
        """Return the incident whose id begins with `start`."""
        return _one("incidents", self.incidents, start)

    def fix(self, start: str) -> Fix:
        """Return the fix whose id begins with `start`."""
        return _one("fixes", self.fixes, start)


def open_store(config: Path | None, flags: Sequence[str] | None) -> Store:
    """Return the store that the settings name; raise SourceError when it is not there."""
    return Store(load_settings(config, os.environ, flags or ()).store.folder, create=False)


def read_concluded(export: Path | None, config: Path | None, flags: Sequence[str] | None) -> Concluded:
    """Return what was concluded, from an export if one is named, else from the store."""
    from autofix.approval import standing

    if export is not None:
        read = read_export(export)
        incidents = sorted(newest(read.incidents), key=lambda one: (-one.opened_ms, one.id))
        return Concluded(incidents, newest(read.fixes), {})
    with open_store(config, flags) as store:
        fixes = store.fixes()
        standings = {one.id: standing(store.decisions(one.id)).value for one in fixes}
        return Concluded(store.incidents(), fixes, standings)


def _one(what: str, items: Sequence[R], start: str) -> R:
    found = [one for one in items if one.id.startswith(start)]
    exact = [one for one in found if one.id == start] or found
    if len(exact) == 1:
        return exact[0]
    known = ", ".join(one.id for one in exact[:5])
    why = f"is ambiguous: {known}" if exact else f"is not known; `opsbrain {what} list` shows what is"
    raise SourceError(f"{what}: {start!r} {why}")
