"""`opsbrain doctor`: are the settings, the machine and the broker as they should be?"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from engine.errors import DataError
from opsbrain.commands.options import Config, Json, Set
from opsbrain.labels_text import FORMS, labels_of
from opsbrain.output import print_json, print_table
from opsbrain.settings import Settings
from opsbrain.settings_load import load_settings


def doctor(
    explain_entity: Annotated[
        str | None,
        typer.Option(
            "--explain-entity", metavar="LABELS", help=f"Say which entity LABELS are, and by which rule: {FORMS}."
        ),
    ] = None,
    topics: Annotated[
        bool,
        typer.Option(
            "--topics", help="Print the commands that make our topics and give a worker its rights; no check."
        ),
    ] = False,
    create_topics: Annotated[
        bool, typer.Option("--create-topics", help="Make those of our topics that are missing, then check.")
    ] = False,
    json: Json = False,
    config: Config = None,
    set_: Set = None,
) -> None:
    """Check settings, detectors, receivers, folders and the broker; exit status 1 if one fails."""
    settings = load_settings(config, os.environ, set_ or ())
    if topics:
        _print_topics(settings)
        return
    if create_topics:
        _create_topics(settings)
    if explain_entity is not None:
        _explain(settings, explain_entity, json)
        return
    from opsbrain.checkup import check_up

    findings = check_up(settings)
    if json:
        print_json({"findings": findings})
    else:
        print_table(("check", "outcome", "what"), [(one.name, one.outcome, one.text) for one in findings])
    if any(one.outcome == "failed" for one in findings):
        raise typer.Exit(1)


def _print_topics(settings: Settings) -> None:
    """Print what somebody may run who has the rights, ahead of the first worker; asks the broker only how big it is."""
    from engine.errors import Retryable
    from engine.runners.kafka.plan import creating, plan_of
    from engine.runners.kafka.topics import metadata_of
    from opsbrain.kafka_config import kafka_config
    from opsbrain.kafka_rights import commands

    config = kafka_config(settings)
    try:
        brokers = len(metadata_of(config).brokers)
    except Retryable:
        brokers = 3
        typer.echo("opsbrain: no broker answers; the copies are for three", err=True)
    for line in (*(creating(one, config) for one in plan_of(config, brokers)), *commands(config)):
        typer.echo(line)


def _create_topics(settings: Settings) -> None:
    from engine.runners.kafka.topics import create_topics
    from opsbrain.kafka_config import kafka_config

    create_topics(kafka_config(settings))


def _explain(settings: Settings, text: str, json: bool) -> None:
    from ingest.identity import Identity
    from opsbrain.wiring import scrubber_of

    identity = settings.identity
    names = Identity(identity.scope, identity.default_namespace, identity.overrides, scrubber_of(settings).name)
    entity, rule = names.explain(_labels(text))
    if json:
        print_json({"entity": entity, "rule": rule})
    else:
        typer.echo(f"{entity}\nby: {rule}")


def _labels(text: str) -> dict[str, str]:
    try:
        return labels_of(text)
    except DataError as error:
        raise typer.BadParameter(f"{error}; accepted: {FORMS}", param_hint="--explain-entity") from error
