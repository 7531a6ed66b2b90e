"""Exports side by side: equal to the byte, or as equal as DESIGN asks between different partitionings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl

DIGITS = 1e-9


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return the files of an export, the summary without what may differ between two runs."""
    files = {one.name: one.read_bytes() for one in sorted(folder.iterdir())}
    summary = json.loads(files["summary.json"])
    del summary["run"]
    return files | {"summary.json": json.dumps(summary, sort_keys=True).encode()}


def differences(one: Path, other: Path) -> list[str]:
    """Return where two exports differ in more than the tenth digit of a float."""
    found: list[str] = []
    for name in ("incidents", "fixes"):
        found += _differ(_lines(one / f"{name}.jsonl"), _lines(other / f"{name}.jsonl"), name)
    frames = (pl.read_parquet(folder / "anomalies.parquet").to_dicts() for folder in (one, other))
    return found + _differ(*frames, "anomalies")


def _lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _differ(one: Any, other: Any, where: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        return [d for key in sorted(one | other) for d in _differ(one.get(key), other.get(key), f"{where}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [d for n, pair in enumerate(zip(one, other, strict=True)) for d in _differ(*pair, f"{where}[{n}]")]
    if isinstance(one, float) and isinstance(other, float):
        same = math.isclose(one, other, rel_tol=DIGITS) or (math.isnan(one) and math.isnan(other))
        return [] if same else [f"{where}: {one!r} and {other!r}"]
    return [] if one == other else [f"{where}: {one!r} and {other!r}"]
