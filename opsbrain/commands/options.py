"""Options that several commands share, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", envvar="OPSBRAIN_CONFIG", show_envvar=True, help="TOML file with settings (docs/settings.md)."
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one setting; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON instead of text.")]
