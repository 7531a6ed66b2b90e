"""What a run concluded, as text for a terminal: the timeline, the causes with their evidence, the fixes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import typer

from engine.types import Fix, Incident
from opsbrain.export import newest
from opsbrain.output import counted, escaped, printable
from opsbrain.replaying import Conclusions

SHOWN_INCIDENTS = 30
SHOWN_CAUSES = 3
SHOWN_EVIDENCE = 5


def print_conclusions(
    concluded: Conclusions, *, incidents: bool = True, out: Path | None = None, report: Path | None = None
) -> None:
    """Print accounts, the incidents (if wanted) and where the files lie."""
    found = concluded.newest_incidents()
    accounts = concluded.accounts
    dropped = "".join(f", dropped {n:,} ({reason})" for reason, n in sorted(accounts.dropped.items()))
    typer.echo(
        f"{counted(accounts.sent, 'row')}: {accounts.accepted:,} accepted, {accounts.late:,} late, "
        f"{accounts.duplicate:,} duplicate, {accounts.dead_lettered:,} dead-lettered{dropped}"
    )
    typer.echo(
        f"{concluded.elapsed_s:.1f} s, {concluded.rows_per_s:,.0f} rows/s; "
        f"{counted(len(concluded.anomalies), 'anomaly', 'anomalies')}, {counted(len(found), 'incident')}, "
        f"{counted(len(newest(concluded.fixes)), 'fix', 'fixes')}"
    )
    shown = found[:SHOWN_INCIDENTS] if incidents else []
    for incident in shown:
        print_incident(incident)
    if incidents and len(found) > len(shown):
        typer.echo(f"... and {len(found) - len(shown)} more in the export")
    if out is not None:
        typer.echo(f"export: {out}")
    if report is not None:
        typer.echo(f"report: {report}")


def print_incident(incident: Incident, *, evidence: int = 1) -> None:
    """Print one incident with its first causes."""
    resolved = f", resolved {clock(incident.resolved_ms)}" if incident.resolved_ms is not None else ""
    typer.echo(
        f"\n{clock(incident.opened_ms)}  {incident.id}  {incident.severity}  {printable(incident.title)}{resolved}"
    )
    if incident.ranking.abstained is not None:
        typer.echo(f"    no cause named: {printable(incident.ranking.abstained)}")
    for place, cause in enumerate(incident.ranking.causes[:SHOWN_CAUSES], start=1):
        typer.echo(f"    {place}. {printable(cause.entity)}  {cause.score:.2f}")
        for line in cause.evidence[: evidence if place == 1 else min(evidence, 1)]:
            typer.echo(f"         {printable(line.text)}")


def print_fix(fix: Fix, *, whole: bool = False) -> None:
    """Print one fix with the verdict of each check and its undo; `whole` prints all of what is sent, else its head."""
    typer.echo(f"    fix {fix.id}: {printable(fix.title)}  [{fix.risk.value.replace('_', ' ')}]")
    for verdict in fix.verdicts:
        typer.echo(f"         {verdict.check:<13} {verdict.outcome.value:<13} {printable(verdict.showed)}")
    for name, actions in (("action", fix.actions), ("undo", fix.undo)):
        for action in actions:
            told = f"{name:<7} {action.verb} {action.kind} {action.namespace}/{action.name}"
            if not whole:
                typer.echo(f"         {printable(f'{told}: {_clip(action.body)}')}")
                continue
            typer.echo(f"         {printable(told)}")
            for line in _body(action.body):
                typer.echo(f"             {escaped(line)}")


def standing_fixes(fixes: Iterable[Fix], incident: Incident) -> list[Fix]:
    """Return the fixes of an incident that still stand: those for a cause no longer believed have expired."""
    return [fix for fix in newest(fixes) if fix.incident_id == incident.id and fix.expires_ms > incident.updated_ms]


def clock(time_ms: int | None) -> str:
    """Return a time as text, in UTC."""
    return datetime.fromtimestamp((time_ms or 0) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _body(text: str) -> list[str]:
    """Return a body as lines: a patch as one operation a line, an object as indented JSON, anything else as it is."""
    try:
        body = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text.splitlines()
    if isinstance(body, list):
        return [msgspec.json.format(msgspec.json.encode(one), indent=0).decode() for one in body]
    return msgspec.json.format(msgspec.json.encode(body), indent=2).decode().splitlines()


def _clip(text: str, width: int = 160) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
