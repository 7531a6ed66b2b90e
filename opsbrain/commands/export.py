"""`opsbrain export`: what workers or `up` have concluded, in the form of `replay --out`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from opsbrain.commands.options import Config, Set
from opsbrain.settings import Settings
from opsbrain.settings_load import load_settings


def export(
    out: Annotated[Path, typer.Option("--out", help="Folder for the canonical export.")],
    config: Config = None,
    set_: Set = None,
) -> None:
    """Write what workers (where a broker is set) or `up` have concluded as a canonical export.

    Of an `up` that is running this is as of its last checkpoint (setting store.checkpoint_s): stop it first for all.
    """
    settings = load_settings(config, os.environ, set_ or ())
    if settings.kafka.bootstrap:
        _of_workers(settings, out)
    else:
        _of_up(settings, out)
    typer.echo(f"export  {out}")


def _of_up(settings: Settings, out: Path) -> None:
    from opsbrain.concluded import export_store

    export_store(settings.store.folder, out)


def _of_workers(settings: Settings, out: Path) -> None:
    from opsbrain.kafka_config import kafka_config
    from opsbrain.kafka_export import conclusions

    conclusions(kafka_config(settings), settings.pipeline.resolution_s * 1000).export(out)
