"""Where checkpoints live: in memory, or in one SQLite file.

Parts are staged one by one and become visible together at commit; the hash of each part is checked when it is read.
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

from engine.errors import StateMismatch
from engine.state_codec import decode_state, encode_state
from engine.types import State

STATE_VERSION = 2


class MemoryStore:
    """Keeps the newest checkpoint in memory, as bytes (so that what is loaded is a copy). For tests."""

    def __init__(self) -> None:
        self._staged: dict[str, bytes] = {}
        self._committed: dict[str, bytes] = {}
        self._last: str | None = None

    def load(self, checkpoint: str) -> dict[str, State]:
        """Return the parts of `checkpoint`; raise StateMismatch if it is not the newest one."""
        if checkpoint != self._last:
            raise StateMismatch(f"checkpoint {checkpoint} is not there")
        return {name: decode_state(data) for name, data in self._committed.items()}

    def stage(self, name: str, state: State) -> None:
        """Write one part of the next checkpoint."""
        self._staged[name] = encode_state(state)

    def commit(self, checkpoint: str) -> None:
        """Make everything staged the newest checkpoint."""
        self._committed, self._staged, self._last = self._staged, {}, checkpoint

    def last(self) -> str | None:
        """Return the newest checkpoint, or None."""
        return self._last

    def close(self) -> None:
        """Do nothing."""


class SqliteStore:
    """Keeps the newest checkpoint in one SQLite file; older ones are dropped when a newer one is whole."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("CREATE TABLE IF NOT EXISTS parts (checkpoint TEXT, name TEXT, sha256 TEXT, data BLOB)")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS checkpoints (id INTEGER PRIMARY KEY, checkpoint TEXT, version INT)"
            )
        except sqlite3.DatabaseError as error:
            raise StateMismatch(
                f"{path}: not a state file of OpsBrain ({error}); move it away to start fresh"
            ) from error
        self._staged: list[tuple[str, str, bytes]] = []

    def load(self, checkpoint: str) -> dict[str, State]:
        """Return the parts of `checkpoint`; raise StateMismatch when it is damaged or of another version."""
        row = self._db.execute("SELECT version FROM checkpoints WHERE checkpoint = ?", (checkpoint,)).fetchone()
        if row is None:
            raise StateMismatch(f"{self._path}: checkpoint {checkpoint} is not there")
        if row[0] != STATE_VERSION:
            raise StateMismatch(
                f"{self._path}: state version {row[0]}, this program reads {STATE_VERSION}; "
                "start with an empty state folder and replay"
            )
        parts: dict[str, State] = {}
        for name, digest, data in self._db.execute(
            "SELECT name, sha256, data FROM parts WHERE checkpoint = ? ORDER BY name", (checkpoint,)
        ):
            if hashlib.sha256(data).hexdigest() != digest:
                raise StateMismatch(
                    f"{self._path}: part {name} of checkpoint {checkpoint} is damaged; replay from the start"
                )
            parts[name] = decode_state(data)
        return parts

    def stage(self, name: str, state: State) -> None:
        """Keep one part for the next checkpoint."""
        data = encode_state(state)
        self._staged.append((name, hashlib.sha256(data).hexdigest(), data))

    def commit(self, checkpoint: str) -> None:
        """Write everything staged as the newest checkpoint, in one transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("DELETE FROM parts")
        self._db.execute("DELETE FROM checkpoints")
        self._db.executemany(
            "INSERT INTO parts VALUES (?, ?, ?, ?)",
            [(checkpoint, name, digest, data) for name, digest, data in self._staged],
        )
        self._db.execute("INSERT INTO checkpoints (checkpoint, version) VALUES (?, ?)", (checkpoint, STATE_VERSION))
        self._db.execute("COMMIT")
        self._staged = []

    def last(self) -> str | None:
        """Return the newest checkpoint, or None."""
        row = self._db.execute("SELECT checkpoint FROM checkpoints ORDER BY id DESC LIMIT 1").fetchone()
        return row[0] if row else None

    def close(self) -> None:
        """Close the file."""
        self._db.close()
