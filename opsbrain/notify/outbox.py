"""The outbox: what is to be sent, in SQLite, so that no notification is lost to a crash or a deaf receiver.

A delivery is pending until it is delivered (2xx) or failed (the receiver refused it, or it was given up). Deliveries of
one incident to one receiver go out in order: a "resolved" never overtakes its "opened". Delivery is at least once:
after a crash between sending and noting it, the same id goes out again.

In a file it is durable (`opsbrain up`). A worker's own lives as long as the worker (`SCRATCH`): there the topic is what
is durable, and its offset is committed when what it says has been told (`opsbrain.notify.ledger`).
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.errors import Permanent, Retryable, SourceError
from opsbrain.notify.backoff import wait_ms
from opsbrain.notify.delivery import Delivery

FILE_NAME: Final = "outbox.sqlite"
SCRATCH: Final = ""
"""SQLite's name for a database of one connection, in memory and, beyond a few MB, in a temporary file of the system."""

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT, notifier TEXT, subject TEXT, kind TEXT, body BLOB,
    state TEXT, attempts INT, enqueued_ms INT, next_ms INT, ended_ms INT, last TEXT,
    at_ms INT, UNIQUE (id, notifier)
);
CREATE INDEX IF NOT EXISTS pending ON deliveries (state, next_ms);
CREATE INDEX IF NOT EXISTS by_subject ON deliveries (notifier, subject, number);
"""
_COLUMNS: Final = (
    "id, notifier, subject, kind, body, coalesce(at_ms, enqueued_ms),"
    " state, attempts, enqueued_ms, next_ms, ended_ms, last"
)


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
    """The outbox in one file, SCRATCH, or ":memory:" for tests. Time is an argument; nothing here sends or sleeps.

    May be used from several threads at once.
    """

    def __init__(self, path: Path | str, give_up_after_ms: int = 86_400_000) -> None:
        self._give_up_after_ms = give_up_after_ms
        self._lock = threading.RLock()
        try:
            if isinstance(path, Path):
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_TABLE)
            if "at_ms" not in {name for _, name, *_ in self._db.execute("PRAGMA table_info(deliveries)")}:
                self._db.execute("ALTER TABLE deliveries ADD COLUMN at_ms INT")
        except (OSError, sqlite3.Error) as error:
            raise SourceError(f"{path}: cannot open the outbox: {getattr(error, 'strerror', None) or error}") from error

    def close(self) -> None:
        """Close the file; what is pending is there again after the next start."""
        self._db.close()

    def enqueue(self, delivery: Delivery, now_ms: int) -> bool:
        """Keep a delivery; return whether it is new (the same id for the same receiver is kept once, ever)."""
        one = delivery
        changed = self._change(
            "INSERT OR IGNORE INTO deliveries"
            " (id, notifier, subject, kind, body, at_ms, state, attempts, enqueued_ms, next_ms, last)"
            " VALUES (?, ?, ?, ?, ?, ?, 'pending', 0, ?, ?, '')",
            (one.id, one.notifier, one.subject, one.kind, one.body, one.at_ms, now_ms, now_ms),
        )
        return changed == 1

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
        return int(self._rows("SELECT count(*) FROM deliveries WHERE state = 'pending'")[0][0])

    def next_due_ms(self, notifier: str | None = None) -> int | None:
        """Return when the next pending delivery (to one receiver) may be sent, or None when nothing is pending."""
        query = (
            "SELECT min(next_ms) FROM deliveries AS d WHERE state = 'pending' AND (?1 IS NULL OR notifier = ?1) AND"
            " number = (SELECT min(number) FROM deliveries WHERE notifier = d.notifier AND subject = d.subject"
            " AND state = 'pending')"
        )
        (found,) = self._rows(query, (notifier,))[0]
        return None if found is None else int(found)

    def owed(self, refreshing: Collection[str]) -> set[tuple[str, str]]:
        """Return id and receiver of what nobody else may consider told.

        That is what is pending, and for receivers that hear of an incident as long as it lasts (`refreshing`) also its
        last word, until that is "resolved".
        """
        pending = self._rows("SELECT id, notifier FROM deliveries WHERE state = 'pending'")
        lasting = [(one.delivery.id, name) for name in refreshing for one in self.unresolved(name)]
        return {(id.partition("+")[0], notifier) for id, notifier in (*pending, *lasting)}

    def subjects(self) -> set[str]:
        """Return the incidents of which anything is known."""
        return {subject for (subject,) in self._rows("SELECT DISTINCT subject FROM deliveries")}

    def drop(self, subjects: Collection[str], refreshing: Collection[str] = ()) -> None:
        """Let go of incidents that somebody else tells from now on: what of them is pending, or lasts (`refreshing`).

        What was delivered stays known, should they come back.
        """
        self._change(
            "DELETE FROM deliveries WHERE subject IN (SELECT value FROM json_each(?))"
            " AND (state = 'pending' OR notifier IN (SELECT value FROM json_each(?)))",
            (json.dumps(sorted(subjects)), json.dumps(sorted(refreshing))),
        )

    def delivered(self, delivery: Delivery, now_ms: int, answer: str) -> None:
        """Note that the receiver took it."""
        self._end(delivery, "delivered", now_ms, answer)

    def refused(self, delivery: Delivery, now_ms: int, error: Permanent) -> None:
        """Note that the receiver never will; the reason tells an operator what to do."""
        self._end(delivery, "failed", now_ms, str(error))

    def postponed(self, delivery: Delivery, now_ms: int, error: Retryable) -> None:
        """Note a failed attempt and when the next is due; give up when the delivery has grown too old."""
        entry = self.find(delivery)
        if entry is None:
            return
        attempts = entry.attempts + 1
        next_ms = now_ms + wait_ms(attempts, error.retry_after_s, delivery.id)
        if next_ms - entry.enqueued_ms > self._give_up_after_ms:
            text = f"gave up after {attempts} attempts; operator action: see why the receiver fails. Last: {error}"
            self._end(delivery, "failed", now_ms, text)
            return
        self._change(
            "UPDATE deliveries SET attempts = ?, next_ms = ?, last = ? WHERE id = ? AND notifier = ?",
            (attempts, next_ms, str(error), delivery.id, delivery.notifier),
        )

    def find(self, delivery: Delivery) -> Entry | None:
        """Return how a delivery stands, or None when it is not there (any more)."""
        query = "SELECT {columns} FROM deliveries WHERE id = ? AND notifier = ?"
        return next(iter(self._entries(query, (delivery.id, delivery.notifier))), None)

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
        """Drop deliveries that ended before a time, unless they are the last word on what lasts; return how many."""
        return self._change(
            "DELETE FROM deliveries WHERE state <> 'pending' AND ended_ms < ?1 AND (kind = 'resolved' OR number <"
            " (SELECT max(number) FROM deliveries AS d WHERE d.notifier = deliveries.notifier"
            " AND d.subject = deliveries.subject))",
            (ended_before_ms,),
        )

    def _end(self, delivery: Delivery, state: str, now_ms: int, last: str) -> None:
        self._change(
            "UPDATE deliveries SET state = ?, attempts = attempts + 1, ended_ms = ?, last = ?"
            " WHERE id = ? AND notifier = ?",
            (state, now_ms, last, delivery.id, delivery.notifier),
        )

    def _entries(self, query: str, values: tuple[object, ...]) -> list[Entry]:
        rows = self._rows(query.format(columns=_COLUMNS), values)
        return [Entry(Delivery(*row[:6]), *row[6:]) for row in rows]

    def _change(self, statement: str, values: tuple[object, ...]) -> int:
        with self._lock:
            return self._db.execute(statement, values).rowcount

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise SourceError(f"the outbox cannot be read: {error}; move it away to start with an empty one") from error
