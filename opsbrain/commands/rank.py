"""`opsbrain rank`: root causes from a wide table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import DataError, SourceError
from opsbrain.commands.options import Json
from opsbrain.output import print_json, print_table, printable


def rank(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV or Parquet: a time column and <entity>_<indicator> columns.")
    ],
    onset: Annotated[str, typer.Option("--onset", metavar="TS", help="When it began: Unix seconds, ms or ISO 8601.")],
    graph: Annotated[
        Path | None, typer.Option("--graph", metavar="FILE", help="Who depends on whom: JSON node-link or CSV.")
    ] = None,
    json: Json = False,
) -> None:
    """Rank root causes by how abnormal, how early and how far upstream each entity is."""
    from rca.graph_file import load_graph
    from rca.wide import parse_time, rank_frame, read_frame

    try:
        parse_time(onset)
    except DataError as error:
        raise typer.BadParameter(str(error), param_hint="--onset") from error
    known = load_graph(graph) if graph is not None else None
    try:
        ranked = rank_frame(read_frame(path), onset, known)
    except DataError as error:
        raise SourceError(f"{path}: {error}") from error
    if json:
        print_json(ranked)
        return
    if ranked["abstained"] is not None:
        typer.echo(f"no cause is named: {printable(ranked['abstained'])}")
        return
    print_table(("score", "entity", "evidence"), [_row(one) for one in ranked["ranking"]])


def _row(cause: dict[str, Any]) -> tuple[str, ...]:
    arrows = {1: "up", -1: "down"}
    signs = [f"{one['indicator']} {arrows.get(one['direction'], '')} at {one['at']}" for one in cause["evidence"][:3]]
    return f"{cause['score']:.3f}", cause["entity"], "; ".join(signs)
