"""`opsbrain replay`: recorded telemetry through the whole pipeline, embedded."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from engine.errors import ConfigError
from ingest.identity import Identity
from ingest.registry import SOURCES, source
from opsbrain.commands.options import Config, Set
from opsbrain.output import check_writable, counted, printable
from opsbrain.progress import progress_bar
from opsbrain.replaying import Conclusions, run_replay
from opsbrain.settings_load import load_settings
from opsbrain.timeline import print_conclusions
from opsbrain.wiring import scrubber_of

SHOWN_REASONS: Final = 3


def replay(
    path: Annotated[Path, typer.Argument(help="Folder or file of recorded telemetry.")],
    format: Annotated[str, typer.Option("--format", help=", ".join(SOURCES))],
    day: Annotated[str | None, typer.Option("--day", help="Only this day of the recording (YYYY-MM-DD).")] = None,
    speed: Annotated[str, typer.Option("--speed", help="max, or how many times faster than it happened.")] = "max",
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the canonical export.")] = None,
    report: Annotated[Path | None, typer.Option("--report", help="File for the HTML report.")] = None,
    state: Annotated[Path | None, typer.Option("--state", help="Folder of a run to resume.")] = None,
    config: Config = None,
    set_: Set = None,
) -> None:
    """Replay recorded telemetry; starts clean and sends no notification."""
    settings = load_settings(config, os.environ, set_ or ())
    if out is not None:
        check_writable(out, folder=True)
    if report is not None:
        check_writable(report, folder=False)
    names = settings.identity
    identity = Identity(names.scope, names.default_namespace, names.overrides)
    recorded = source(format, path, day, identity, scrubber_of(settings))
    with progress_bar(recorded, _factor(speed)) as progress:
        concluded = run_replay(settings, recorded, state=state, keep_history=report is not None, progress=progress)
    if out is not None:
        concluded.export(out)
    if report is not None:
        from opsbrain.reporting import write_report

        write_report(report, concluded, title=f"{format} replay")
    print_conclusions(concluded, out=out, report=report)
    if concluded.dead_letters:
        typer.echo(f"opsbrain: {_lost(concluded)}", err=True)
    unread: Mapping[str, str] = getattr(recorded, "unread", {})
    if unread:
        typer.echo(f"opsbrain: {_passed_over(unread)}", err=True)


def _passed_over(unread: Mapping[str, str]) -> str:
    """Return which files were not read, and why."""
    first = [printable(f"{name} ({why})") for name, why in sorted(unread.items())[:SHOWN_REASONS]]
    more = f" and {len(unread) - SHOWN_REASONS} more" if len(unread) > SHOWN_REASONS else ""
    return f"not read: {', '.join(first)}{more}"


def _lost(concluded: Conclusions) -> str:
    """Return how many dead letters there are, and their most frequent reasons."""
    reasons: Counter[str] = Counter()
    for one in concluded.dead_letters:
        reasons[f"{one.input}: {one.reason}"] += one.rows
    first = sorted(reasons.items(), key=lambda one: (-one[1], one[0]))[:SHOWN_REASONS]
    told = [printable(reason) + (f" ({number:,} times)" if number > 1 else "") for reason, number in first]
    if len(reasons) > len(first):
        told.append(f"and {counted(len(reasons) - len(first), 'other reason')}")
    return f"{counted(concluded.accounts.dead_lettered, 'dead letter')}: {'; '.join(told)}"


def _factor(speed: str) -> float | None:
    """Return how many times faster than it happened, or None for as fast as possible."""
    if speed == "max":
        return None
    try:
        factor = float(speed)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise ConfigError(f"--speed {speed}: give 'max' or a number above 0, as 10 for ten times as fast")
    return factor
