"""What `opsbrain up` has concluded so far, in the form of `replay --out`; it may be running meanwhile."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from engine.store import SqliteStore
from engine.types import State
from opsbrain.export import write_export
from opsbrain.live import CHECKPOINTS, PART
from opsbrain.store import Store


def export_store(folder: Path, out: Path) -> None:
    """Write the canonical export of the store in `folder`; raise SourceError when there is none."""
    with Store(folder, create=False) as store:
        write_export(
            out,
            store.anomalies(),
            store.incident_revisions(),
            store.fix_revisions(),
            store.deadletters(),
            _summary(folder / CHECKPOINTS),
        )


def _summary(path: Path) -> dict[str, Any]:
    """Return where every row went, as of the last checkpoint; nothing when there was none."""
    if not path.exists():
        return {}
    checkpoints = SqliteStore(path)
    try:
        last = checkpoints.last()
        states = checkpoints.load(last) if last is not None else {}
    finally:
        checkpoints.close()
    return _rows(states) if PART in states else {}


def _rows(states: dict[str, State]) -> dict[str, Any]:
    windows = [state for name, state in states.items() if name.startswith("window/")]
    counts: Counter[str] = sum((Counter(one["counts"]) for one in windows), Counter())
    dropped: Counter[str] = sum((Counter(one["dropped"]) for one in windows), Counter())
    dead_lettered = sum(states["dead_letters"]["counts"].values())
    rows = {
        "sent": counts.total() + dead_lettered + dropped.total(),
        "accepted": counts["accepted"],
        "late": counts["late"],
        "duplicate": counts["duplicate"],
        "dead_lettered": dead_lettered,
        "dropped": dict(sorted(dropped.items())),
    }
    return {"rows": rows, "resolution_ms": states[PART]["resolution_ms"]}
