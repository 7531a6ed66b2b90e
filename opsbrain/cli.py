"""The command line: every command of `opsbrain`, and how errors end (0 done, 1 failed, 2 wrong usage or settings)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from engine.errors import ConfigError, OpsBrainError
from opsbrain import (
    __version__,
    early_stop,  # noqa: F401  (arms it before the rest is loaded)
)
from opsbrain.commands import (
    bench,
    demo,
    detect,
    doctor,
    export,
    fixes,
    incidents,
    rank,
    receive,
    replay,
    templates,
    up,
    worker,
)
from opsbrain.logs import fail
from opsbrain.output import printable

app = typer.Typer(
    name="opsbrain",
    help="A streaming AIOps engine: telemetry in; incidents with ranked causes and proven fixes out.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(demo.demo)
app.command()(replay.replay)
app.command()(up.up)
app.command()(receive.receive)
app.command()(worker.worker)
app.command()(export.export)
app.command()(detect.detect)
app.command()(templates.templates)
app.command()(rank.rank)
app.add_typer(incidents.app)
app.add_typer(fixes.app)
app.command()(doctor.doctor)
app.command()(bench.bench)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"opsbrain {__version__}")
        raise typer.Exit


@app.callback()
def _opsbrain(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status; every error ends as one line on standard error."""
    given = list(sys.argv[1:] if args is None else args)
    try:
        status = app(args=given or ["--help"], standalone_mode=False)
        return (status if isinstance(status, int) else 0) if given else 2
    except typer.TyperException as error:
        return _fail(error.format_message() or "missing command, try --help", 2)
    except ConfigError as error:
        return _fail(str(error), 2)
    except OpsBrainError as error:
        return _fail(str(error), 1)
    except typer.Abort:
        return 130
    except Exception as error:  # the last line of defence: a person gets one line, never a traceback
        if os.environ.get("OPSBRAIN_DEBUG"):
            raise
        return _fail(f"internal error: {type(error).__name__}: {error} (OPSBRAIN_DEBUG=1 shows where)", 1)


def _fail(text: str, status: int) -> int:
    if not fail(printable(text)):
        sys.stderr.write(f"opsbrain: {printable(text)}\n")
    return status
