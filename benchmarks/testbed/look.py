"""Prints what a recording shows, a line a stretch of time: `python -m benchmarks.testbed.look DIR [--seconds 30]`."""

import argparse
import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path


def main() -> None:
    """Print server spans by service: requests a second, share of errors, median and 95th percentile in ms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--seconds", type=int, default=30, help="length of a stretch (default 30)")
    args = parser.parse_args()
    sys.stdout.write("\n".join(table(args.recording, args.seconds)) + "\n")


def table(recording: Path, seconds: int) -> list[str]:
    """Return the lines of the table."""
    spans = _server_spans(recording)
    first_ns = min(end_ns for _, end_ns, _, _ in spans)
    cells: defaultdict[tuple[int, str], list[tuple[float, bool]]] = defaultdict(list)
    for service, end_ns, took_ms, ok in spans:
        cells[((end_ns - first_ns) // (seconds * 10**9), service)].append((took_ms, ok))
    services = sorted({service for _, service in cells})
    lines = [
        "from_s  " + "".join(f"{name:>34}" for name in services),
        " " * 8 + "     req/s   err%     p50     p95  " * len(services),
    ]
    rows = range(max(number for number, _ in cells) + 1)
    return lines + [_row(cells, row, seconds, services) for row in rows]


def _row(
    cells: Mapping[tuple[int, str], list[tuple[float, bool]]], row: int, seconds: int, services: Sequence[str]
) -> str:
    return f"{row * seconds:6d}  " + "".join(_cell(cells.get((row, name), []), seconds) for name in services)


def _cell(calls: list[tuple[float, bool]], seconds: int) -> str:
    if not calls:
        return f"{'-':>34}"
    took = sorted(took_ms for took_ms, _ in calls)
    errors = sum(not ok for _, ok in calls) / len(calls)
    p95 = took[int(0.95 * (len(took) - 1))]
    return f"{len(calls) / seconds:10.1f}{errors:7.1%}{took[len(took) // 2]:8.1f}{p95:9.1f}"


def _server_spans(recording: Path) -> list[tuple[str, int, float, bool]]:
    found = []
    with gzip.open(recording / "spans.jsonl.gz", "rt", encoding="utf-8") as lines:
        for span in map(json.loads, lines):
            if span["kind"] == "server":
                end_ns = span["end_time_unix_nano"]
                took_ms = (end_ns - span["start_time_unix_nano"]) / 1e6
                found.append((span["resource"]["service.name"], end_ns, took_ms, span["status"] == "ok"))
    return found


if __name__ == "__main__":
    main()
