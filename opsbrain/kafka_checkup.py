"""What `opsbrain doctor` looks at on the broker, from "is it there" to "who works": a check needs those before it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from engine.errors import ConfigError, OpsBrainError, Retryable
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.credentials import mechanism_of, principal
from engine.runners.kafka.probe import Answer, probe, release_of
from opsbrain.finding import Finding
from opsbrain.kafka_clocks import check_clocks
from opsbrain.kafka_config import kafka_config
from opsbrain.kafka_groups import check_groups
from opsbrain.kafka_look import look_at
from opsbrain.kafka_rights import check_rights
from opsbrain.kafka_topics import check_topics
from opsbrain.output import counted
from opsbrain.settings import Settings


def check_kafka(settings: Settings) -> Iterator[Finding]:
    """Yield what is found, in the order of what needs what; a broker that is not there ends it."""
    if not settings.kafka.bootstrap:
        yield Finding("kafka", "note", "no kafka.bootstrap is set; only `opsbrain worker` needs one")
        return
    try:
        kafka_config(settings, needs_telemetry=True)
        yield Finding(
            "kafka.telemetry", "ok", f"{', '.join(one.topic for one in settings.kafka.telemetry)} will be read"
        )
    except ConfigError as error:
        yield Finding("kafka.telemetry", "failed", str(error))
    try:
        config = kafka_config(settings)
    except ConfigError:  # said already, unless it is the list that is empty
        return
    yield _security(config)
    try:
        seen = look_at(config)
    except OpsBrainError as error:
        yield Finding("kafka", "failed", str(error))
        return
    yield _brokers(config, probe(config), seen.brokers)
    yield from check_topics(config, seen, settings.http.max_body_mb << 20)
    yield from check_rights(config, seen)
    try:
        yield from check_clocks(config, seen, settings.pipeline.future_s * 1000, lambda: time.time_ns() // 1_000_000)
        yield from check_groups(config, seen)
    except Retryable as error:  # it went away meanwhile
        yield Finding("kafka", "failed", str(error))


def _security(config: KafkaConfig) -> Finding:
    told = config.security
    protocol = told.get("security.protocol", "plaintext").upper()
    if protocol == "SASL_PLAINTEXT":
        return Finding(
            "kafka.security",
            "warning",
            f"{protocol}: the password can be read on the way; use SASL_SSL beyond a try-out",
        )
    if told.get("enable.ssl.certificate.verification", "true").lower() in ("false", "0"):
        return Finding("kafka.security", "warning", f"{protocol}: anybody may pass for the broker; verify certificates")
    if protocol == "PLAINTEXT":
        return Finding("kafka.security", "ok", "PLAINTEXT: for a network that nobody else is on")
    who = f", {mechanism_of(told)} as {principal(told).removeprefix('User:')}" if protocol == "SASL_SSL" else ""
    return Finding("kafka.security", "ok", f"{protocol}{who}")


def _brokers(config: KafkaConfig, answers: list[Answer], brokers: int) -> Finding:
    """Return what the addresses of `kafka.bootstrap` gave; librdkafka has come through already."""
    away = [one for one in answers if one.error]
    if len(away) == len(answers):
        why = away[0].error if away else "no address is host:port"
        return Finding("kafka", "failed", f"{config.bootstrap}: the driver of Faust does not come through: {why}")
    release = next(release_of(one.versions) for one in answers if not one.error)
    text = f"{config.bootstrap} answers: {counted(brokers, 'broker')}, Apache Kafka {release} by its protocol"
    if away:
        said = ", ".join(f"{one.address} ({one.error})" for one in away)
        return Finding("kafka", "warning", f"{text}; of kafka.bootstrap these do not answer: {said}")
    return Finding("kafka", "ok", text)
