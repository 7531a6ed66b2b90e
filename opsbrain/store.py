"""What `opsbrain up` has concluded and what people decided, in one SQLite file.

Every table is written by identity, so that a repeated message changes nothing. One connection a thread: open your own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from autofix.approval import AuditEntry, Decision, Settled, decide
from engine.errors import SourceError
from engine.types import Anomaly, DeadLetter, Fix, Incident
from engine.values import from_json, to_json

SCHEMA_VERSION: Final = 1
FILE_NAME: Final = "opsbrain.sqlite"

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS anomalies   (id TEXT PRIMARY KEY, at_ms INT, body BLOB);
CREATE TABLE IF NOT EXISTS incidents   (id TEXT, revision INT, at_ms INT, body BLOB, PRIMARY KEY (id, revision));
CREATE TABLE IF NOT EXISTS fixes       (id TEXT, revision INT, incident_id TEXT, body BLOB, PRIMARY KEY (id, revision));
CREATE TABLE IF NOT EXISTS deadletters (input TEXT, at INT, body BLOB, PRIMARY KEY (input, at, body));
CREATE TABLE IF NOT EXISTS decisions   (audit_id TEXT PRIMARY KEY, fix_id TEXT, at_ms INT, body BLOB);
CREATE TABLE IF NOT EXISTS audit       (id TEXT PRIMARY KEY, at_ms INT, body BLOB);
CREATE INDEX IF NOT EXISTS fixes_of_incident ON fixes (incident_id);
CREATE INDEX IF NOT EXISTS decisions_of_fix ON decisions (fix_id);
"""

T = TypeVar("T")


class Store:
    """The conclusions in `folder`. Cost: one row a revision; a read decodes what it returns."""

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        """Open the store; raise SourceError when it cannot be, or when it is not there and `create` is false."""
        self._path = folder / FILE_NAME
        if not create and not self._path.exists():
            raise SourceError(f"{self._path}: not found; `opsbrain up` writes it (setting store.folder)")
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(self._path, isolation_level=None, timeout=10)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise SourceError(f"{self._path}: cannot open: {getattr(error, 'strerror', None) or error}") from error

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def put_anomalies(self, items: Sequence[Anomaly]) -> None:
        """Keep anomalies."""
        self._write(
            "INSERT OR REPLACE INTO anomalies VALUES (?, ?, ?)", [(a.id, a.start_ms, to_json(a)) for a in items]
        )

    def put_incidents(self, items: Sequence[Incident]) -> None:
        """Keep revisions of incidents."""
        rows = [(one.id, one.revision, one.updated_ms, to_json(one)) for one in items]
        self._write("INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?)", rows)

    def put_fixes(self, items: Sequence[Fix]) -> None:
        """Keep revisions of fixes."""
        rows = [(one.id, one.revision, one.incident_id, to_json(one)) for one in items]
        self._write("INSERT OR REPLACE INTO fixes VALUES (?, ?, ?, ?)", rows)

    def put_deadletters(self, items: Sequence[DeadLetter]) -> None:
        """Keep dead letters."""
        rows = [(one.input, one.offset, to_json(one)) for one in items]
        self._write("INSERT OR REPLACE INTO deadletters VALUES (?, ?, ?)", rows)

    def decide(self, fix: Fix, decision: Decision) -> Settled:
        """Judge a decision against those accepted before, write it to the audit, and return what became of it."""
        with self._transaction():
            settled = decide(fix, self.decisions(fix.id), decision)
            entry = settled.entry
            self._db.execute("INSERT OR IGNORE INTO audit VALUES (?, ?, ?)", (entry.id, entry.at_ms, to_json(entry)))
            if settled.accepted:
                row = (entry.id, fix.id, decision.at_ms, to_json(decision))
                self._db.execute("INSERT OR IGNORE INTO decisions VALUES (?, ?, ?, ?)", row)
        return settled

    def incidents(self) -> list[Incident]:
        """Return the newest revision of each incident, latest opened first."""
        found = self._read(
            "SELECT body FROM incidents AS i WHERE revision = (SELECT max(revision) FROM incidents WHERE id = i.id)",
            (),
            Incident,
        )
        return sorted(found, key=lambda one: (-one.opened_ms, one.id))

    def fixes(self, incident_id: str | None = None) -> list[Fix]:
        """Return the newest revision of each fix (of one incident), by incident and id."""
        found = self._read(
            "SELECT body FROM fixes AS f WHERE revision = (SELECT max(revision) FROM fixes WHERE id = f.id)"
            " AND (?1 IS NULL OR incident_id = ?1) ORDER BY incident_id, id",
            (incident_id,),
            Fix,
        )
        return found

    def incident(self, start: str) -> Incident:
        """Return the incident whose id begins with `start`; raise SourceError when there is none or more than one."""
        return self._one("incidents", start, Incident)

    def fix(self, start: str) -> Fix:
        """Return the fix whose id begins with `start`; raise SourceError when there is none or more than one."""
        return self._one("fixes", start, Fix)

    def decisions(self, fix_id: str) -> list[Decision]:
        """Return the accepted decisions about a fix, oldest first."""
        return self._read("SELECT body FROM decisions WHERE fix_id = ? ORDER BY rowid", (fix_id,), Decision)

    def audit(self) -> list[AuditEntry]:
        """Return the audit, oldest first."""
        return self._read("SELECT body FROM audit ORDER BY rowid", (), AuditEntry)

    def anomalies(self) -> list[Anomaly]:
        """Return all anomalies, by time."""
        return self._read("SELECT body FROM anomalies ORDER BY at_ms, id", (), Anomaly)

    def deadletters(self) -> list[DeadLetter]:
        """Return all dead letters, by input and offset."""
        return self._read("SELECT body FROM deadletters ORDER BY input, at", (), DeadLetter)

    def incident_revisions(self) -> list[Incident]:
        """Return every revision of every incident, for the export."""
        return self._read("SELECT body FROM incidents ORDER BY id, revision", (), Incident)

    def revisions_of(self, incident_id: str) -> tuple[list[Incident], list[Fix]]:
        """Return every revision of an incident, and every revision of its fixes."""
        query = "SELECT body FROM {} WHERE {} = ? ORDER BY id, revision"
        incidents = self._read(query.format("incidents", "id"), (incident_id,), Incident)
        return incidents, self._read(query.format("fixes", "incident_id"), (incident_id,), Fix)

    def fix_revisions(self) -> list[Fix]:
        """Return every revision of every fix, for the export."""
        return self._read("SELECT body FROM fixes ORDER BY id, revision", (), Fix)

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version not in (0, SCHEMA_VERSION):
            raise SourceError(f"{self._path}: written by another version ({version}); use another store.folder")
        self._db.executescript(_TABLES)
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _one(self, table: str, start: str, kind: type[T]) -> T:
        if not start.strip():
            raise SourceError(f"{table}: an id is needed, or its beginning; `opsbrain {table} list` shows them")
        ids = self._db.execute(
            f"SELECT DISTINCT id FROM {table} WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id", (start,)
        ).fetchall()
        if len(ids) != 1:
            known = ", ".join(one for (one,) in ids[:5])
            why = f"is ambiguous: {known}" if ids else f"is not known; `opsbrain {table} list` shows what is"
            raise SourceError(f"{table}: {start!r} {why}")
        query = f"SELECT body FROM {table} WHERE id = ? ORDER BY revision DESC LIMIT 1"
        return self._read(query, ids[0], kind)[0]

    def _read(self, query: str, values: tuple[object, ...], kind: type[T]) -> list[T]:
        return [from_json(body, kind) for (body,) in self._db.execute(query, values)]

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with self._transaction():
            self._db.executemany(statement, rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._db:  # commits, or rolls back whatever ends it
            self._db.execute("BEGIN IMMEDIATE")
            yield
