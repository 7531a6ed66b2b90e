"""`opsbrain replay`: recorded telemetry through the whole pipeline, embedded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opsbrain.commands.options import Config, Set
from opsbrain.commands.stub import unwired


def replay(
    path: Annotated[Path, typer.Argument(help="Folder or file of recorded telemetry.")],
    format: Annotated[str, typer.Option("--format", help="opsbrain, nezha, alibaba-genai-2026")],
    day: Annotated[str | None, typer.Option("--day", help="Only this day of the recording (YYYY-MM-DD).")] = None,
    speed: Annotated[str, typer.Option("--speed", help="max, or how many times faster than it happened.")] = "max",
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the canonical export.")] = None,
    report: Annotated[Path | None, typer.Option("--report", help="File for the HTML report.")] = None,
    state: Annotated[Path | None, typer.Option("--state", help="Folder of a run to resume.")] = None,
    notify: Annotated[bool, typer.Option("--notify", help="Send notifications as configured.")] = False,
    config: Config = None,
    set_: Set = None,
) -> None:
    """Replay recorded telemetry; starts clean and sends no notification unless asked."""
    unwired("replay")
