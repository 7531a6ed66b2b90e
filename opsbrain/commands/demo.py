"""`opsbrain demo`: the bundled recorded incident, end to end, embedded."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

import opsbrain
from engine.types import Incident
from ingest.registry import source
from opsbrain.announcing import announce
from opsbrain.notify.dispatch import Dispatcher
from opsbrain.notify.outbox import Entry, Outbox
from opsbrain.notify.receiver import Received, Receiver
from opsbrain.notify.webhook import WebhookNotifier
from opsbrain.output import check_writable
from opsbrain.progress import progress_bar
from opsbrain.replaying import Conclusions, run_replay
from opsbrain.report.view import Told
from opsbrain.reporting import write_report
from opsbrain.secrets import Secret
from opsbrain.settings import Webhook
from opsbrain.settings_load import load_settings
from opsbrain.timeline import clock, print_conclusions, print_fix, print_incident, standing_fixes

RECORDING: Final = Path(opsbrain.__file__).parent / "recordings" / "checkout-lock"

# A signing key for a receiver that lives as long as the demo, on loopback, and hears one message. It guards nothing.
_SECRET: Final = "whsec_" + "ZGVtby1vbmx5LW5vdC1hLXNlY3JldC0tLS0tLS0="


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the export and the report.")] = Path("out/demo"),
) -> None:
    """Replay the bundled incident: timeline, ranked cause, proven fix, one signed webhook, a report."""
    check_writable(out, folder=True)
    settings = load_settings(None, os.environ)
    recording = source("opsbrain", RECORDING, None)
    typer.echo("Replaying thirteen recorded minutes of a small shop: logs, metrics, spans, events and objects.")
    with progress_bar(recording, None) as progress:
        concluded = run_replay(settings, recording, keep_history=True, progress=progress)
    concluded.export(out)
    received, told = _tell(concluded)
    report = out / "report.html"
    write_report(report, concluded, title="The demo: a release that queues every payment", told=told)
    print_conclusions(concluded, incidents=False)
    for incident in concluded.newest_incidents():
        _show(incident, concluded)
    _show_received(received)
    typer.echo(f"\nexport  {out}\nreport  {report}  (open it in a browser)")


def _tell(concluded: Conclusions) -> tuple[list[Received], list[Told]]:
    """Send the first revision of each incident to a receiver on loopback; return what it got and how it went."""
    first = [incident for incident in concluded.incidents if incident.revision == 1]
    with Receiver([_SECRET]) as receiver:
        webhook = WebhookNotifier(Webhook(name="demo", url=Secret(receiver.url), secrets=(Secret(_SECRET),)))
        dispatcher = Dispatcher(Outbox(":memory:"), [webhook])
        entries = announce(dispatcher, first, concluded.fixes, int(time.time() * 1000))
        received = list(receiver.received)
    return received, [_told(entry, one) for entry, one in zip(entries, received, strict=False)]


def _told(entry: Entry, received: Received) -> Told:
    delivery = entry.delivery
    word = "verified" if received.signature.ok else f"failed: {received.signature.reason}"
    return Told(delivery.notifier, delivery.subject, delivery.kind, entry.state, entry.attempts, entry.last, word)


def _show(incident: Incident, concluded: Conclusions) -> None:
    typer.echo("\nTimeline (UTC)")
    steps = [(change.ts_ms, f"change    {change.entity}: {change.summary}") for change in incident.changes]
    steps += [(step.at_ms, f"{step.what:<9} {step.reason}") for step in incident.transitions]
    for at_ms, text in sorted(steps):
        typer.echo(f"    {clock(at_ms)}  {text}")
    print_incident(incident, evidence=6)
    fixes = standing_fixes(concluded.fixes, incident)
    for fix in fixes:
        print_fix(fix)
    if not fixes:
        typer.echo("    no fix was offered")


def _show_received(received: list[Received]) -> None:
    for one in received:
        verdict = "its signature verifies" if one.signature.ok else f"its signature fails: {one.signature.reason}"
        typer.echo(f"\nwebhook delivered: {one.headers.get('webhook-id', '?')}, {len(one.body):,} bytes; {verdict}")
