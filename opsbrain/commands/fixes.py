"""`opsbrain fixes`: what is proposed, what was proven of it, and what people decide.

Nothing is applied to a cluster: an approval prints the commands that a person would run.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from autofix.approval import Choice, Decision, standing
from engine.errors import SourceError
from engine.types import Fix
from engine.values import plain
from opsbrain.commands.conclusions import From, open_store, read_concluded
from opsbrain.commands.options import Config, Json, Set
from opsbrain.output import print_json, print_table, printable
from opsbrain.report.words import checks, short
from opsbrain.timeline import clock, print_fix

app = typer.Typer(name="fixes", help="What is proposed, and what people decide.", rich_markup_mode=None)

Id = Annotated[str, typer.Argument(metavar="ID", help="A fix's id, or its beginning.")]
Who = Annotated[str | None, typer.Option("--who", help="Who decides; your login name if not given.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the audit.")]


@app.command("list")
def list_(export: From = None, json: Json = False, config: Config = None, set_: Set = None) -> None:
    """List proposed fixes."""
    concluded = read_concluded(export, config, set_)
    if json:
        print_json([_with_standing(one, concluded.standings) for one in concluded.fixes])
        return
    print_table(
        ("id", "incident", "entity", "risk", "stands", "proven", "title"),
        [_row(one, concluded.standings) for one in concluded.fixes],
    )


@app.command()
def show(id: Id, export: From = None, json: Json = False, config: Config = None, set_: Set = None) -> None:
    """Show one fix with the verdict of each check, its actions, its undo, and what people decided."""
    concluded = read_concluded(export, config, set_)
    fix = concluded.fix(id)
    if json:
        print_json(_with_standing(fix, concluded.standings))
        return
    typer.echo(printable(fix.rationale))
    print_fix(fix, whole=True)
    for line in _told(fix, concluded.decisions.get(fix.id)):
        typer.echo(f"    {line}")


@app.command()
def approve(id: Id, who: Who = None, reason: Reason = "", config: Config = None, set_: Set = None) -> None:
    """Approve a fix; prints the commands that apply it."""
    _decide(id, Choice.APPROVE, who, reason, config, set_)


@app.command()
def reject(id: Id, who: Who = None, reason: Reason = "", config: Config = None, set_: Set = None) -> None:
    """Reject a fix."""
    _decide(id, Choice.REJECT, who, reason, config, set_)


@app.command()
def rollback(id: Id, who: Who = None, reason: Reason = "", config: Config = None, set_: Set = None) -> None:
    """Take back an approved fix; prints the commands that undo it."""
    _decide(id, Choice.ROLLBACK, who, reason, config, set_)


def _decide(
    id: str, choice: Choice, who: str | None, reason: str, config: Path | None, flags: Sequence[str] | None
) -> None:
    with open_store(config, flags) as store:
        fix = store.fix(id)
        now_ms = int(time.time() * 1000)
        decision = Decision(fix.id, fix.revision, choice, who or _login(), now_ms, reason)
        settled = store.decide(fix, decision)
    if not settled.accepted:
        raise SourceError(f"{fix.id} was refused: {settled.entry.reason}")
    typer.echo(f"{fix.id} is {settled.standing.value.replace('_', ' ')}: {printable(fix.title)}")
    if settled.entry.commands:
        typer.echo("# nothing was run; the commands for it are")
    for command in settled.entry.commands:
        typer.echo(command)


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no name in the environment, and none in the system's list
        return ""


def _with_standing(fix: Fix, standings: dict[str, str]) -> dict[str, object]:
    return {**plain(fix), "outcome": fix.outcome.value, "standing": standings.get(fix.id, "proposed")}


def _told(fix: Fix, decisions: Sequence[Decision] | None) -> Iterator[str]:
    """Yield who decided what, when and why, oldest first; with nothing decided, when the proposal expires."""
    if decisions is None:
        yield "an export holds no decisions; the store does"
        return
    for number, one in enumerate(decisions, start=1):
        why = f": {one.reason}" if one.reason else ""
        stands = standing(decisions[:number]).value.replace("_", " ")
        yield f"{clock(one.at_ms)}  {stands} by {printable(one.who)}{printable(why)}"
    if not decisions:
        yield f"proposed; nobody has decided. The proposal expires {clock(fix.expires_ms)} UTC"


def _row(fix: Fix, standings: dict[str, str]) -> tuple[str, ...]:
    stands = standings.get(fix.id, "proposed").replace("_", " ")
    risk = fix.risk.value.replace("_", " ")
    return fix.id, fix.incident_id, short(fix.entity), risk, stands, checks(fix), fix.title
