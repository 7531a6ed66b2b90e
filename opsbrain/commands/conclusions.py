"""Where `incidents` and `fixes` look: the store of `opsbrain up`, or the folder of an export."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from autofix.approval import Decision, standing
from engine.errors import SourceError
from engine.types import Fix, Incident
from opsbrain.export import Revised, newest, read_export
from opsbrain.settings_load import load_settings
from opsbrain.store import FILE_NAME, Store

From = Annotated[
    Path | None,
    typer.Option("--export", metavar="DIR", help="Look into an export (`replay --out`) instead of the store."),
]

R = TypeVar("R", bound=Revised)


@dataclass(frozen=True, slots=True)
class Concluded:
    """The newest revision of everything; `standings` say where fixes stand by id, `decisions` how they came there."""

    incidents: Sequence[Incident]
    fixes: Sequence[Fix]
    standings: dict[str, str]
    decisions: Mapping[str, Sequence[Decision]]

    def incident(self, start: str) -> Incident:
        """Return the incident whose id begins with `start`."""
        return _one("incidents", self.incidents, start)

    def fix(self, start: str) -> Fix:
        """Return the fix whose id begins with `start`."""
        return _one("fixes", self.fixes, start)


def open_store(config: Path | None, flags: Sequence[str] | None) -> Store:
    """Return the store that the settings name; raise SourceError when it is not there."""
    settings = load_settings(config, os.environ, flags or ())
    folder = settings.store.folder
    if settings.kafka.bootstrap and not (folder / FILE_NAME).exists():
        raise SourceError(
            f"{folder / FILE_NAME}: not found; workers keep it on their machines (setting store.folder). From"
            " anywhere: `opsbrain export --out DIR`, then `--export DIR` here"
        )
    return Store(folder, create=False)


def read_concluded(export: Path | None, config: Path | None, flags: Sequence[str] | None) -> Concluded:
    """Return what was concluded, from an export if one is named, else from the store."""
    if export is not None:
        read = read_export(export)
        incidents = sorted(newest(read.incidents), key=lambda one: (-one.opened_ms, one.id))
        return Concluded(incidents, newest(read.fixes), {}, {})
    with open_store(config, flags) as store:
        fixes = store.fixes()
        decisions = {one.id: store.decisions(one.id) for one in fixes}
        standings = {id: standing(of).value for id, of in decisions.items()}
        return Concluded(store.incidents(), fixes, standings, decisions)


def _one(what: str, items: Sequence[R], start: str) -> R:
    if not start.strip():
        raise SourceError(f"{what}: an id is needed, or its beginning; `opsbrain {what} list` shows them")
    found = [one for one in items if one.id.startswith(start)]
    exact = [one for one in found if one.id == start] or found
    if len(exact) == 1:
        return exact[0]
    known = ", ".join(one.id for one in exact[:5])
    why = f"is ambiguous: {known}" if exact else f"is not known; `opsbrain {what} list` shows what is"
    raise SourceError(f"{what}: {start!r} {why}")
