"""The durable outbox: what is to be sent, in SQLite, so that no notification is lost to a crash or a deaf receiver.

A delivery is pending until it is delivered (2xx) or failed (the receiver refused it, or it was given up). Deliveries of
one incident to one receiver go out in order: a "resolved" never overtakes its "opened". Delivery is at least once:
after a crash between sending and noting it, the same id goes out again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import Permanent, Retryable, SourceError
from opsbrain.notify.backoff import wait_ms
from opsbrain.notify.delivery import Delivery

FILE_NAME: Final = "outbox.sqlite"

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT, notifier TEXT, subject TEXT, kind TEXT, body BLOB,
    state TEXT, attempts INT, enqueued_ms INT, next_ms INT, ended_ms INT, last TEXT,
    UNIQUE (id, notifier)
);
CREATE INDEX IF NOT EXISTS pending ON deliveries (state, next_ms);
CREATE INDEX IF NOT EXISTS by_subject ON deliveries (notifier, subject, number);
"""
_COLUMNS: Final = "id, notifier, subject, kind, body, state, attempts, enqueued_ms, next_ms, ended_ms, last"


@dataclass(frozen=True, slots=True)
class Entry:
    """A delivery and how it stands: `state` is "pending", "delivered" or "failed"; `last` the latest answer."""

    delivery: Delivery
    state: str
    attempts: int
    enqueued_ms: int
    next_ms: int
    ended_ms: int | None
    last: str


class Outbox:
    """The outbox in one file (":memory:" for tests). Time is an argument; nothing here sends or sleeps."""

    def __init__(self, path: Path | str, give_up_after_ms: int = 86_400_000) -> None:
        self._give_up_after_ms = give_up_after_ms
        try:
            if isinstance(path, Path):
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise SourceError(f"{path}: cannot open the outbox: {getattr(error, 'strerror', None) or error}") from error

    def close(self) -> None:
        """Close the file; what is pending is there again after the next start."""
        self._db.close()

    def enqueue(self, delivery: Delivery, now_ms: int) -> bool:
        """Keep a delivery; return whether it is new (the same id for the same receiver is kept once, ever)."""
        row = (delivery.id, delivery.notifier, delivery.subject, delivery.kind, delivery.body, now_ms, now_ms)
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO deliveries"
            " (id, notifier, subject, kind, body, state, attempts, enqueued_ms, next_ms, last)"
            " VALUES (?, ?, ?, ?, ?, 'pending', 0, ?, ?, '')",
            row,
        )
        return cursor.rowcount == 1

    def due(self, now_ms: int, notifiers: Collection[str], limit: int = 100) -> list[Entry]:
        """Return what may be sent now to `notifiers`, oldest first: of each incident only the first pending one."""
        return self._entries(
            "SELECT {columns} FROM deliveries AS d WHERE state = 'pending' AND next_ms <= ? AND number ="
            " (SELECT min(number) FROM deliveries WHERE notifier = d.notifier AND subject = d.subject"
            " AND state = 'pending') AND notifier IN (SELECT value FROM json_each(?)) ORDER BY number LIMIT ?",
            (now_ms, json.dumps(sorted(notifiers)), limit),
        )

    def pending(self) -> int:
        """Return how many deliveries wait."""
        return int(self._db.execute("SELECT count(*) FROM deliveries WHERE state = 'pending'").fetchone()[0])

    def next_due_ms(self) -> int | None:
        """Return when the next pending delivery may be sent, or None when nothing is pending."""
        row = self._db.execute("SELECT min(next_ms) FROM deliveries WHERE state = 'pending'").fetchone()
        return None if row[0] is None else int(row[0])

    def delivered(self, delivery: Delivery, now_ms: int, answer: str) -> None:
        """Note that the receiver took it."""
        self._end(delivery, "delivered", now_ms, answer)

    def refused(self, delivery: Delivery, now_ms: int, error: Permanent) -> None:
        """Note that the receiver never will; the reason tells an operator what to do."""
        self._end(delivery, "failed", now_ms, str(error))

    def postponed(self, delivery: Delivery, now_ms: int, error: Retryable) -> None:
        """Note a failed attempt and when the next is due; give up when the delivery has grown too old."""
        entry = self.find(delivery)
        attempts = entry.attempts + 1
        next_ms = now_ms + wait_ms(attempts, error.retry_after_s, delivery.id)
        if next_ms - entry.enqueued_ms > self._give_up_after_ms:
            text = f"gave up after {attempts} attempts; operator action: see why the receiver fails. Last: {error}"
            self._end(delivery, "failed", now_ms, text)
            return
        self._db.execute(
            "UPDATE deliveries SET attempts = ?, next_ms = ?, last = ? WHERE id = ? AND notifier = ?",
            (attempts, next_ms, str(error), delivery.id, delivery.notifier),
        )

    def find(self, delivery: Delivery) -> Entry:
        """Return how a delivery stands; raise KeyError if it was never enqueued."""
        found = self._entries(
            "SELECT {columns} FROM deliveries WHERE id = ? AND notifier = ?", (delivery.id, delivery.notifier)
        )
        if not found:
            raise KeyError(delivery.id)
        return found[0]

    def newest(self, notifier: str, subject: str) -> Entry | None:
        """Return what was enqueued last for an incident and receiver, or None."""
        query = "SELECT {columns} FROM deliveries WHERE notifier = ? AND subject = ? ORDER BY number DESC LIMIT 1"
        return next(iter(self._entries(query, (notifier, subject))), None)

    def unresolved(self, notifier: str) -> list[Entry]:
        """Return, of each incident whose last word to this receiver was not "resolved", that word."""
        return self._entries(
            "SELECT {columns} FROM deliveries AS d WHERE notifier = ? AND kind <> 'resolved' AND number ="
            " (SELECT max(number) FROM deliveries WHERE notifier = d.notifier AND subject = d.subject) ORDER BY number",
            (notifier,),
        )

    def entries(self, subject: str | None = None) -> list[Entry]:
        """Return everything (about one incident), in the order in which it was enqueued."""
        return self._entries(
            "SELECT {columns} FROM deliveries WHERE ?1 IS NULL OR subject = ?1 ORDER BY number", (subject,)
        )

    def forget(self, ended_before_ms: int) -> int:
        """Drop deliveries that ended before a time, unless they are an incident's last word; return how many."""
        cursor = self._db.execute(
            "DELETE FROM deliveries WHERE state <> 'pending' AND ended_ms < ?1 AND number < (SELECT max(number)"
            " FROM deliveries AS d WHERE d.notifier = deliveries.notifier AND d.subject = deliveries.subject)",
            (ended_before_ms,),
        )
        return cursor.rowcount

    def _end(self, delivery: Delivery, state: str, now_ms: int, last: str) -> None:
        self._db.execute(
            "UPDATE deliveries SET state = ?, attempts = attempts + 1, ended_ms = ?, last = ?"
            " WHERE id = ? AND notifier = ?",
            (state, now_ms, last, delivery.id, delivery.notifier),
        )

    def _entries(self, query: str, values: tuple[object, ...]) -> list[Entry]:
        with self._reading():
            rows = self._db.execute(query.format(columns=_COLUMNS), values).fetchall()
        return [Entry(Delivery(*row[:5]), *row[5:]) for row in rows]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise SourceError(f"the outbox cannot be read: {error}; move it away to start with an empty one") from error
