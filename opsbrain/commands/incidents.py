"""`opsbrain incidents`: what happened, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.types import Incident
from engine.values import plain
from opsbrain.commands.conclusions import From, read_concluded
from opsbrain.commands.options import Config, Json, Set
from opsbrain.output import print_json, print_table, printable
from opsbrain.report.words import clock, day, duration, short
from opsbrain.timeline import print_fix, print_incident

app = typer.Typer(name="incidents", help="What happened, and why.", rich_markup_mode=None)


@app.command("list")
def list_(export: From = None, json: Json = False, config: Config = None, set_: Set = None) -> None:
    """List incidents, latest first."""
    concluded = read_concluded(export, config, set_)
    if json:
        print_json([plain(one) for one in concluded.incidents])
        return
    print_table(
        ("id", "opened (UTC)", "lasted", "severity", "state", "likely cause", "title"),
        [_row(one) for one in concluded.incidents],
    )


@app.command()
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="An incident's id, or its beginning.")],
    export: From = None,
    json: Json = False,
    config: Config = None,
    set_: Set = None,
) -> None:
    """Show one incident with its causes, their evidence, and fixes."""
    concluded = read_concluded(export, config, set_)
    incident = concluded.incident(id)
    fixes = [one for one in concluded.fixes if one.incident_id == incident.id]
    if json:
        print_json({"incident": plain(incident), "fixes": [plain(one) for one in fixes]})
        return
    print_incident(incident, evidence=8)
    for step in incident.transitions:
        typer.echo(f"    {clock(step.at_ms)}  {step.what:<9} {printable(step.reason)}")
    for fix in fixes:
        print_fix(fix)


def _row(one: Incident) -> tuple[str, ...]:
    cause = short(one.ranking.causes[0].entity) if one.ranking.causes else "none named"
    lasted = duration(one.resolved_ms - one.opened_ms) if one.resolved_ms is not None else "-"
    opened = f"{day(one.opened_ms)} {clock(one.opened_ms)}"
    return one.id, opened, lasted, one.severity.value, one.phase.value, cause, one.title
