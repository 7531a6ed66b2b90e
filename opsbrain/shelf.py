"""What a worker has read of incidents and fixes, on its way into the store: it waits while a disk is full."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Final

from engine.errors import OpsBrainError
from engine.types import Fix, Incident
from opsbrain.notify.meters import NotifyMeters
from opsbrain.notify.trouble import Trouble, passes
from opsbrain.store import Store

MOST_UNSAVED: Final = 1_000

log = logging.getLogger(__name__)


class Shelf:
    """Incidents and fixes on their way into the store; they wait here while it cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.unsaved: list[Incident | Fix] = []
        self._folder = folder
        self._store: Store | None = None
        text = f"notify: {folder} cannot be written (people are told all the same, nothing is committed)"
        self._trouble = Trouble(log, text)

    @property
    def full(self) -> bool:
        """Return whether nothing more should be taken."""
        return len(self.unsaved) >= MOST_UNSAVED

    def add(self, payload: Incident | Fix) -> None:
        """Take what has arrived."""
        self.unsaved.append(payload)

    def save(self, meters: NotifyMeters) -> None:
        """Move everything into the store, or try again later; raise SourceError when trying again is of no use."""
        if self._trouble.waits:
            return
        try:
            self._write()
        except (OpsBrainError, sqlite3.Error, OSError) as error:
            if not passes(error):
                raise
            self._trouble.began(error)
            meters.error("store")
            self.close()  # a file that vanished is made anew
        else:
            self._trouble.over()

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _write(self) -> None:
        if self._store is None:
            self._store = Store(self._folder)
        if self.unsaved:
            self._store.put_fixes([one for one in self.unsaved if isinstance(one, Fix)])
            self._store.put_incidents([one for one in self.unsaved if isinstance(one, Incident)])
            self.unsaved = []
