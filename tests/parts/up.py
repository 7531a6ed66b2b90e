"""`opsbrain up` as a process for real clients to send to, and a look at the Records that it has taken in."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine.repeats import Seen, identified_by_request, request_hash, row_hashes
from ingest.identity import Identity
from ingest.registry import format_of
from opsbrain.journal import Journal
from opsbrain.journal_reader import JournalReader, Messages
from tests.conftest import ROOT
from tests.parts.processes import Program, answers, fetch, free_port

SCOPE = "demo"


@dataclass(slots=True)
class Up(Program):
    """A receiver that keeps everything it takes in its journals; ``url`` and ``grpc`` are where it listens."""

    url: str = ""
    grpc: str = ""
    journals: Path = field(default=Path())

    def again(self) -> None:
        """Start it anew where it was."""
        self.start(lambda: answers(f"{self.url}/healthz"))

    def sources(self) -> dict[str, dict[str, Any]]:
        """Return the accounts of each input that has received something."""
        told = json.loads(fetch(f"{self.url}/sources"))["sources"]
        return {one["name"]: one for one in told if one["received"]}

    def bodies(self, format: str) -> list[bytes]:
        """Return every request of a format that is in the journal, in order."""
        copy = self.journals.parent / "looked-at" / format
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.journals / format, copy)
        journal = Journal(copy)
        reader = JournalReader(journal, journal.first_offset)
        entries = iter(reader.read, None)
        found = [body for one in entries if isinstance(one, Messages) for body in one.bodies]
        reader.close()
        journal.close()
        return found

    def rows(self, format: str) -> pl.DataFrame:
        """Return the Records of everything in a journal, those that came again left out, as windows leave them out."""
        return rows_of(format, self.bodies(format))


def rows_of(format: str, bodies: Sequence[bytes]) -> pl.DataFrame:
    """Return the Records of requests, those that came again left out, as windows leave them out."""
    decoded = format_of(format, Identity(SCOPE)).decode(bodies, range(len(bodies)), format)
    assert not decoded.letters, decoded.letters[0].reason
    rows = identified_by_request(decoded.rows, range(len(bodies)), [request_hash(one) for one in bodies])
    known = (rows["identity"] != 0).to_numpy()
    fresh = np.ones(rows.height, np.bool_)
    fresh[known] = Seen().first(row_hashes(rows.filter(known)))
    return rows.filter(fresh)


def up(work: Path, settings: Mapping[str, object] = {}) -> Up:
    """Start `opsbrain up` on free ports; nothing leaves its journals, since it never checkpoints by itself."""
    port, grpc_port = free_port(), free_port()
    told = {
        "http.port": port,
        "receivers.grpc_port": grpc_port,
        "store.folder": work / "store",
        "store.checkpoint_s": 3600,
        "identity.scope": SCOPE,
        "pipeline.resolution_s": 3600,
        "pipeline.idle_after_s": 3600,
        **settings,
    }
    flags = [part for name, value in told.items() for part in ("--set", f"{name}={value}")]
    command = ["env", f"PYTHONPATH={ROOT}", *_proxyless(), sys.executable, "-m", "opsbrain", "up", *flags]
    started = Up(
        command,
        work / "log",
        url=f"http://127.0.0.1:{port}",
        grpc=f"127.0.0.1:{grpc_port}",
        journals=work / "store" / "journal",
    )
    started.again()
    return started


def _proxyless() -> list[str]:
    return [part for name in os.environ if name.lower().endswith("_proxy") for part in ("-u", name)]
