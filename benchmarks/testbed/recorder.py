"""Collects what shippers would send, and writes it as a recording: one gzipped file an input, sorted by event time."""

import gzip
import json
import threading
from collections.abc import Mapping
from pathlib import Path

from benchmarks.testbed.clock import rfc3339_ms
from benchmarks.testbed.wire import body

# name, kind, format: the names of the formats are ingest's.
INPUTS: tuple[tuple[str, str, str], ...] = (
    ("logs", "logs", "fluentbit"),
    ("metrics", "metrics", "prometheus-adapter"),
    ("spans", "spans", "spans"),
    ("events", "events", "kubernetes-event-exporter"),
    ("objects", "objects", "kubernetes-objects"),
)


class Recorder:
    """Takes messages from many threads; writes them once, at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: dict[str, list[tuple[int, str]]] = {name: [] for name, _, _ in INPUTS}
        self._version = 1000

    def add(self, name: str, at_ns: int, message: Mapping[str, object]) -> None:
        """Keep one message of an input; `at_ns` is its event time, and decides its place."""
        text = body(message)
        with self._lock:
            self._messages[name].append((at_ns, text))

    def add_object(self, at_ns: int, manifest: Mapping[str, object]) -> None:
        """Keep an object as it is at that time, under the next resource version."""
        metadata = manifest["metadata"]
        assert isinstance(metadata, dict)
        with self._lock:
            self._version += 1
            metadata["resourceVersion"] = str(self._version)
        self.add("objects", at_ns, {"observed_at": rfc3339_ms(at_ns), "object": manifest})

    def add_spans(self, folder: Path) -> None:
        """Take in the spans that the pods wrote; a line cut off by the pod's end is left out."""
        for path in sorted(folder.iterdir()):
            for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
                with self._lock:
                    self._messages["spans"].append((json.loads(line)["end_time_unix_nano"], line))

    def write(self, folder: Path, scope: str, resolution_ms: int, until_ns: int) -> dict[str, int]:
        """Write the recording of everything before `until_ns`, and return the number of messages by input."""
        folder.mkdir(parents=True, exist_ok=True)
        inputs = []
        counts = {}
        for name, kind, wire_format in INPUTS:
            with self._lock:
                kept = [pair for pair in self._messages[name] if pair[0] < until_ns]
            kept.sort(key=lambda pair: pair[0])  # Stable: of two at the same time, the one that was said first.
            _write_lines(folder / f"{name}.jsonl.gz", [text for _, text in kept])
            inputs.append({"name": name, "kind": kind, "format": wire_format, "file": f"{name}.jsonl.gz"})
            counts[name] = len(kept)
        head = {"format": "opsbrain-recording", "version": 1, "scope": scope, "resolution_ms": resolution_ms}
        (folder / "recording.json").write_text(
            json.dumps({**head, "inputs": inputs}, indent=2) + "\n", encoding="utf-8"
        )
        return counts


def _write_lines(path: Path, lines: list[str]) -> None:
    """Write the lines gzipped, with no name and no time in the header, so that equal lines are equal files."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as packed:
        for line in lines:
            packed.write(line.encode() + b"\n")
