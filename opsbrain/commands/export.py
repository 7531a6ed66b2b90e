"""`opsbrain export`: what workers or `up` have concluded, in the form of `replay --out`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opsbrain.commands.options import Config, Set
from opsbrain.commands.stub import unwired


def export(
    out: Annotated[Path, typer.Option("--out", help="Folder for the canonical export.")],
    config: Config = None,
    set_: Set = None,
) -> None:
    """Write what workers or `up` have concluded as a canonical export."""
    unwired("export")
