"""`opsbrain demo`: the bundled recorded incident, end to end, embedded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opsbrain.commands.stub import unwired


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the export and the report.")] = Path("out/demo"),
) -> None:
    """Replay the bundled incident: timeline, ranked cause, proven fix, one signed webhook, a report."""
    unwired("demo")
