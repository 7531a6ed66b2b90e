"""What the disturbed run of `bench chaos` lost, repeated or changed, against the undisturbed one, in words.

Three places are looked at: the canonical exports (to the byte), what a real receiver was sent, and the topics of
conclusions themselves, where the same key must always have had the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from engine.messages import ANOMALIES, CHANGES, DEADLETTERS, FIXES, INCIDENTS
from engine.runners.kafka.codec import decode
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.reader import TopicReader
from engine.runners.kafka.topics import reach
from engine.types import Mark
from opsbrain.notify.receiver import Received

_LINES: Final = {
    "incidents.jsonl": ("incident", ("id", "revision")),
    "fixes.jsonl": ("fix", ("id", "revision")),
    "deadletters.jsonl": ("dead letter", ("input", "offset", "part")),
}
_CONCLUSIONS: Final = (ANOMALIES, INCIDENTS, FIXES, DEADLETTERS)


@dataclass(slots=True)
class Difference:
    """What is in one run and not in the other, by identity: each line says what and where."""

    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def add(self, what: str, calm: Mapping[str, Any], disturbed: Mapping[str, Any]) -> None:
        """Compare things by identity. What only the disturbed run has was said once too often."""
        self.lost += [f"{what} {key}" for key in sorted(calm.keys() - disturbed.keys())]
        self.repeated += [f"{what} {key}, only when disturbed" for key in sorted(disturbed.keys() - calm.keys())]
        both = sorted(calm.keys() & disturbed.keys())
        self.changed += [
            f"{what} {key}: {_first_difference(calm[key], disturbed[key])}"
            for key in both
            if calm[key] != disturbed[key]
        ]

    def lines(self) -> list[str]:
        """Return all of it, one line each."""
        named = (("lost", self.lost), ("repeated", self.repeated), ("changed", self.changed))
        return [f"{name}: {one}" for name, found in named for one in found]


def compare_exports(calm: Path, disturbed: Path, into: Difference) -> dict[str, int]:
    """Compare two canonical exports, thing by thing and then byte by byte; return how many things the calm one has."""
    counts = {}
    for name, (what, keys) in _LINES.items():
        found = [_by_key(folder / name, keys, name, into) for folder in (calm, disturbed)]
        into.add(what, *found)
        counts[name.removesuffix(".jsonl")] = len(found[0])
    rows = [_anomalies(folder / "anomalies.parquet", into) for folder in (calm, disturbed)]
    into.add("anomaly", *rows)
    counts["anomalies"] = len(rows[0])
    summaries = [_summary(folder / "summary.json") for folder in (calm, disturbed)]
    into.add("summary", *summaries)
    if not into.lines():
        for name in (*_LINES, "anomalies.parquet"):
            if (calm / name).read_bytes() != (disturbed / name).read_bytes():
                into.changed.append(f"{name}: the same content in other bytes")
    return counts


def compare_notified(
    calm: Sequence[Received], disturbed: Sequence[Received], incidents: Iterable[tuple[str, int]], into: Difference
) -> dict[str, int]:
    """Compare what receivers got: at least once each revision, one body a key, the same keys and bodies as undisturbed.

    A delivery that comes again under its key is allowed: it is counted, and that is all.
    """
    found = [_by_idempotency(one, name, into) for one, name in ((calm, "undisturbed"), (disturbed, "disturbed"))]
    into.add("notification", *found)
    told = {event_id(body) for body in found[1].values()}
    into.lost += [f"notification of incident {id} revision {n}" for id, n in incidents if f"{id}.{n}" not in told]
    return {"notifications": len(found[1]), "delivered_again": len(disturbed) - len(found[1])}


def compare_topics(config: KafkaConfig, into: Difference) -> int:
    """Look for keys that had several bodies in the topics of conclusions; return how many messages were repeats."""
    present = reach(config)
    reader = TopicReader(config, config.group("chaos"))
    seen: dict[tuple[str, bytes], bytes] = {}
    repeats = 0
    try:
        topics = [config.topic(stream) for stream in _CONCLUSIONS]
        for one in reader.whole([(topic, number) for topic in topics for number in range(present[topic])]):
            place = one.topic(), one.key() or b""
            before = seen.setdefault(place, one.value())
            repeats += before is not one.value()
            if before != one.value():
                where = f"{one.topic()}/{one.partition()} offset {one.offset()}"
                why = _first_difference(_text(before), _text(one.value()))
                into.changed.append(f"message {where}: its key {place[1]!r} had another body before: {why}")
    finally:
        reader.close()
    return repeats


def compare_windows(calm: KafkaConfig, disturbed: KafkaConfig, into: Difference) -> None:
    """Compare how many rows decoders said that each window has of each input, each time that they said it."""
    found = [_rows_by_window(one) for one in (calm, disturbed)]
    for key in sorted(found[0].keys() | found[1].keys()):
        rows = [one.get(key, []) for one in found]
        if set(rows[0]) != set(rows[1]):
            into.changed.append(f"window {key[1]} of {key[0]}: rows {rows[0]} undisturbed and {rows[1]} disturbed")


def _rows_by_window(config: KafkaConfig) -> dict[tuple[str, int], list[int]]:
    reader = TopicReader(config, config.group("chaos"))
    found: dict[tuple[str, int], list[int]] = {}
    try:
        for one in reader.whole([(config.topic(CHANGES), 0)]):
            headers = dict(one.headers() or ())
            if headers.get("type") != b"mark":
                continue
            mark = decode(CHANGES, one.key(), one.value(), headers).payload
            if isinstance(mark, Mark):
                _count(mark, found)
    finally:
        reader.close()
    return found


def _count(mark: Mark, found: dict[tuple[str, int], list[int]]) -> None:
    for start, kinds in mark.windows.items():
        for producer in mark.producers:
            found.setdefault((producer, start), []).append(sum(one.rows for one in kinds.values()))


def event_id(body: bytes) -> str:
    """Return the id of a CloudEvent, `incident.revision`."""
    return str(msgspec.json.decode(body)["id"])


def _by_idempotency(received: Sequence[Received], run: str, into: Difference) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    keys: dict[str, str] = {}
    without = sum("idempotency-key" not in one.headers for one in received)
    if without:
        into.repeated.append(f"{without} notifications of the {run} run have no idempotency key to know a repeat by")
    for one in received:
        id = event_id(one.body)
        key = one.headers.get("idempotency-key", id)
        if found.setdefault(key, one.body) != one.body:
            why = _first_difference(found[key], one.body)
            into.changed.append(f"notification {key} of the {run} run was sent with two bodies: {why}")
        if keys.setdefault(id, key) != key:
            into.repeated.append(f"notification {id} of the {run} run under the keys {keys[id]} and {key}")
    return found


def _by_key(file: Path, keys: Sequence[str], name: str, into: Difference) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in file.read_text().splitlines():
        one = json.loads(line)
        key = " ".join(str(one.get(key, "")) for key in keys)
        if key in found:
            into.repeated.append(f"{name}: {key} stands there twice")
        found[key] = line
    return found


def _anomalies(file: Path, into: Difference) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in pl.read_parquet(file).to_dicts():
        if row["id"] in found:
            into.repeated.append(f"anomaly {row['id']} stands in the export twice")
        found[str(row["id"])] = repr(row)
    return found


def _summary(file: Path) -> dict[str, str]:
    summary = json.loads(file.read_text())
    del summary["run"]
    return {key: json.dumps(one, sort_keys=True) for key, one in summary.items()}


def _text(body: bytes | None) -> str:
    return (body or b"").decode(errors="replace")


def _first_difference(one: Any, other: Any) -> str:
    """Return the surroundings of the first place where two texts differ."""
    texts = [part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in (one, other)]
    pairs = enumerate(zip(*texts, strict=False))
    at = next((n for n, (left, right) in pairs if left != right), min(map(len, texts)))
    left, right = (text[max(0, at - 60) : at + 60] for text in texts)
    return f"'...{left}...' and '...{right}...'"
