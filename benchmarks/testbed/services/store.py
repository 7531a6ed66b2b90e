"""A small key-value and ledger store: every write goes to a file and is synced before it is answered."""

import json
import os
import threading
import time
from pathlib import Path

from benchmarks.testbed.runtime import App, Body, Request, Response, Runtime

_LOCK_WAIT_S = 10.0


def build(runtime: Runtime) -> App:
    """Build the store on its folder and start its snapshots."""
    store = Store(runtime)
    threading.Thread(target=store.snapshot_for_ever, daemon=True).start()
    return App(
        {
            "POST /kv/add": store.add,
            "POST /ledger/append": store.append,
            "GET /ledger/head": store.head,
            "GET /ledger/entries/": store.entry,
        }
    )


class Store:
    """Keeps counters and the ledger in memory, and what was written in one journal file."""

    def __init__(self, runtime: Runtime) -> None:
        self._log = runtime.log
        self._slow_ms = float(runtime.settings["SLOW_WRITE_MS"])
        self._snapshot_s = runtime.seconds("SNAPSHOT_S")
        self._folder = Path(runtime.state_dir)
        self._journal = (self._folder / "journal.jsonl").open("ab")
        self._lock = runtime.meters.lock("journal")
        self._values: dict[str, int] = {}
        self._ledger: list[Body] = []

    def add(self, request: Request) -> Response:
        """Add to a counter, and answer what it holds after."""
        key, amount = str(request.body["key"]), int(str(request.body["amount"]))
        with self._lock.held(_LOCK_WAIT_S):
            self._values[key] = value = self._values.get(key, 0) + amount
            self._write("kv.add", {"key": key, "value": value})
        return Response(200, {"value": value})

    def append(self, request: Request) -> Response:
        """Append an entry to the ledger, and answer its number."""
        with self._lock.held(_LOCK_WAIT_S):
            self._ledger.append(request.body)
            number = len(self._ledger)
            self._write("ledger.append", request.body)
        return Response(201, {"number": number})

    def head(self, _: Request) -> Response:
        """Answer the number and the seal of the newest entry."""
        if not self._ledger:
            return Response(200, {"number": 0, "seal": ""})
        return Response(200, {"number": len(self._ledger), "seal": self._ledger[-1].get("seal", "")})

    def entry(self, request: Request) -> Response:
        """Answer one ledger entry by its number, counted from 1."""
        number = int(request.tail)
        if not 0 < number <= len(self._ledger):
            return Response(404, {"error": "no such entry"})
        return Response(200, self._ledger[number - 1])

    def snapshot_for_ever(self) -> None:
        """Write all counters to a file now and then, so that a restart need not read the whole journal."""
        while True:
            time.sleep(self._snapshot_s)
            began = time.perf_counter()
            with self._lock.held(_LOCK_WAIT_S):
                text = json.dumps({"values": self._values, "entries": len(self._ledger)})
            (self._folder / "snapshot.json").write_text(text, encoding="utf-8")
            took_ms = (time.perf_counter() - began) * 1000
            self._log.say(
                "snapshot", f"wrote {len(self._values)} keys and {len(self._ledger)} entries in {took_ms:.1f} ms"
            )

    def _write(self, kind: str, value: Body) -> None:
        began = time.perf_counter()
        self._journal.write(json.dumps([kind, value]).encode() + b"\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())
        took_ms = (time.perf_counter() - began) * 1000
        if took_ms > self._slow_ms:
            self._log.caution("journal", f"slow write: {kind} took {took_ms:.1f} ms")
