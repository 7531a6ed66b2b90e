"""`opsbrain detect`: anomalies of a CSV or Parquet file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import ConfigError
from engine.ports import DetectorConfig
from opsbrain.commands.options import Config, Json, Set
from opsbrain.detecting import Found
from opsbrain.output import counted, print_json, print_table, printable, progress
from opsbrain.settings import Settings
from opsbrain.settings_load import load_settings


def detect(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Parquet: timestamp,value or a column a series.")],
    json: Json = False,
    config: Config = None,
    set_: Set = None,
) -> None:
    """Find the anomalies of a table, strictly as its rows come; times are shown as in the file."""
    from opsbrain.detecting import detect as detect_in
    from opsbrain.detecting import threshold
    from opsbrain.table import read_table

    settings = load_settings(config, os.environ, set_ or ())
    table = read_table(path)
    for note in table.notes:
        typer.echo(f"opsbrain: {printable(f'{path}: {note}')}", err=True)
    limit = threshold(table, settings.pipeline.anomaly_tail_p, settings.pipeline.alarm_budget_per_day)
    with progress(f"scoring {path.name}", len(table.said)) as done:
        found = detect_in(table, _detectors(settings), limit, settings.pipeline.seed, done)
    if json:
        print_json({"anomalies": found, "series": len(table.names), "windows": len(table.said)})
        return
    print_table(("start", "end", "severity", "chance", "series", "what"), [_row(one) for one in found])
    anomalies = counted(len(found), "anomaly", "anomalies")
    typer.echo(f"{anomalies} in {counted(len(table.names), 'series', 'series')}, {counted(len(table.said), 'window')}")


def _detectors(settings: Settings) -> list[DetectorConfig]:
    """Return the enabled detectors that learn as they go; those that are fitted on weeks of history stay out."""
    from detectors.registry import build

    options = settings.detectors.options
    built = [build(name, options.get(name, {})) for name in settings.detectors.enabled]
    online = [one for one in built if one.fitter() is None]
    if not online:
        raise ConfigError("detectors.enabled: `detect` needs a detector that learns as it goes, as zscore")
    return online


def _row(one: Found) -> tuple[str, ...]:
    lo, hi = one.expected
    band = "" if lo is None or hi is None else f", expected {lo:.4g} to {hi:.4g}"
    seen = "missing" if one.observed is None else f"{one.observed:.4g}"
    side = {1: "above: ", -1: "below: "}.get(one.direction, "")
    return str(one.start), str(one.end), one.severity, f"{one.tail_p:.0e}", one.series, f"{side}{seen}{band}"
