"""What doctor makes of what it sees on a broker: each line says what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.plan import plan_of
from engine.runners.kafka.probe import Answer, release_of
from opsbrain.finding import Finding
from opsbrain.kafka_checkup import _brokers, _security
from opsbrain.kafka_clocks import judge_newest, judge_offset
from opsbrain.kafka_config import kafka_config
from opsbrain.kafka_groups import Place, judge_group
from opsbrain.kafka_look import ROLES, Group, Look, Topic
from opsbrain.kafka_rights import check_rights, commands
from opsbrain.kafka_topics import check_topics
from opsbrain.settings_load import load_settings

ALL = frozenset({"READ", "WRITE", "CREATE", "DESCRIBE"})
BODY = 1 << 20
USER = "kafka.security={'security.protocol'='SASL_PLAINTEXT','sasl.mechanism'='PLAIN','sasl.username'='worker','sasl.password'='hush'}"  # noqa: E501


def config(*more: str) -> KafkaConfig:
    flags = ("kafka.bootstrap=a:1,b:2", "kafka.telemetry=[{topic='logs',format='fluentbit'}]", *more)
    return kafka_config(load_settings(None, {}, flags))


def seen(of: KafkaConfig, changed: Mapping[str, Mapping[str, Any]] | None = None, **more: Any) -> Look:
    """Return a broker on which all is well, but for what is changed by topic."""
    plans = plan_of(of, 3)
    topics = {
        one.name: Topic(one.name, one.partitions, False, ALL, one.copies, one.copies, 0, one.settings) for one in plans
    }
    topics["logs"] = Topic("logs", 4, False, ALL, 3, 3, 0, {"cleanup.policy": "delete", "retention.ms": "604800000"})
    for name, fields in (changed or {}).items():
        topics[name] = replace(topics[name], **fields)
    groups = {of.group(role): Group(of.group(role), "STABLE", 1, ALL) for role in ROLES}
    return replace(Look(3, plans, topics, groups), **more)


def wrong(found: list[Finding]) -> dict[str, str]:
    return {one.name: f"{one.outcome}: {one.text}" for one in found if one.outcome != "ok"}


def settings_of(of: KafkaConfig, topic: str, **changed: str) -> dict[str, Any]:
    plan = next(one for one in plan_of(of, 3) if one.name == topic)
    return {"settings": {**plan.settings, **{key.replace("_", "."): value for key, value in changed.items()}}}


def test_nothing_is_wrong_where_all_is_well() -> None:
    of = config()
    assert wrong([*check_topics(of, seen(of), BODY), *check_rights(of, seen(of))]) == {}


@pytest.mark.parametrize(
    ("topic", "changed", "says"),
    [
        ("logs", {"partitions": 0}, "failed: is not there, and workers wait for it; have its shipper make it, or: "),
        ("logs", {"partitions": 0, "hidden": True, "rights": None}, "failed: is not to be seen by this user"),
        ("logs", {"leaderless": 2}, "failed: 2 partitions without a leader"),
        ("logs", {"settings": {"cleanup.policy": "compact"}}, "warning: is compacted"),
        ("logs", {"settings": {"retention.ms": "60000"}}, "warning: keeps messages for less than an hour"),
        ("logs", {"settings": {"max.message.bytes": "1000000"}}, "note: takes messages of 1,000,000 bytes"),
        ("opsbrain.features", {"partitions": 4}, "failed: has 4 partitions, settings say 8; set kafka.partitions back"),
        ("opsbrain.features", {"copies": 2}, "warning: has 2 copies of each message, settings say 3"),
        ("opsbrain.features", {"in_sync": 1}, "failed: 1 of 3 copies are in sync, and min.insync.replicas = 2: writes"),
        ("opsbrain.features", {"settings": None}, "note: its settings are not to be seen"),
        ("opsbrain.features", settings_of(config(), "opsbrain.features", retention_ms="5"),
         "warning: retention.ms = 5 (settings say 604800000): kafka-configs.sh --bootstrap-server a:1,b:2 --alter"),
        ("opsbrain.features", settings_of(config(), "opsbrain.features", min_insync_replicas="4"),
         "failed: min.insync.replicas = 4, and there are 3 copies: no write is ever taken"),
        ("opsbrain.snapshots", settings_of(config(), "opsbrain.snapshots", cleanup_policy="delete"),
         "failed: is not compacted, so state is deleted by age: cleanup.policy = delete (settings say compact): kafka"),
    ],
)  # fmt: skip
def test_a_topic_that_is_not_as_it_should_be(topic: str, changed: dict[str, Any], says: str) -> None:
    of = config()
    found = [one for one in check_topics(of, seen(of, {topic: changed}), BODY) if one.name == f"topic {topic}"]
    assert any(f"{one.outcome}: {one.text}".startswith(says) for one in found), found


def test_our_topics_that_are_missing_are_made_by_a_worker_that_may() -> None:
    of = config()
    look = seen(of, {"opsbrain.late": {"partitions": 0, "rights": None}})
    assert wrong(list(check_topics(of, look, BODY)))["our topics"].startswith("failed: 1 of 13 are not there")
    assert (
        "--operation Create --topic opsbrain. --resource-pattern-type prefixed"
        in wrong(list(check_rights(of, look)))["right to create our topics"]
    )
    may = replace(look, creatable=frozenset({"opsbrain.late"}))
    assert wrong(list(check_topics(of, may, BODY)))["our topics"].startswith("note: 1 are not there yet; the first")
    assert wrong(list(check_rights(of, may))) == {}


@pytest.mark.parametrize(
    ("name", "changed", "command"),
    [
        ("right to read telemetry", {"logs": {"rights": ALL - {"READ"}}}, "--operation Read --topic logs"),
        ("right to read our topics", {"opsbrain.fits": {"rights": frozenset({"WRITE"})}},
         "--operation Read --topic opsbrain. --resource-pattern-type prefixed"),
        ("right to write our topics", {"opsbrain.fits": {"rights": frozenset({"READ"})}},
         "--operation Write --topic opsbrain. --resource-pattern-type prefixed"),
    ],
)  # fmt: skip
def test_each_right_that_is_missing_is_one_line_with_its_command(
    name: str, changed: dict[str, dict[str, Any]], command: str
) -> None:
    of = config(USER)
    found = wrong(list(check_rights(of, seen(of, changed))))
    assert list(found) == [name]
    assert found[name].startswith("failed: User:worker may not ") and found[name].endswith(command)
    assert (
        "kafka-acls.sh --bootstrap-server a:1,b:2 --command-config admin.properties --add --allow-principal"
        in found[name]
    )


def test_a_group_that_may_not_be_joined() -> None:
    of = config()
    groups = {**seen(of).groups, "opsbrain-steps": Group("opsbrain-steps", rights=frozenset())}
    found = wrong(list(check_rights(of, seen(of, groups=groups))))
    assert found["right to read as a group"].endswith(
        "--operation Read --group opsbrain- --resource-pattern-type prefixed"
    )


def test_a_broker_that_does_not_tell_rights_is_believed() -> None:
    of = config()
    silent = {name: {"rights": None} for name in seen(of).topics}
    assert wrong(list(check_rights(of, seen(of, silent)))) == {}


def test_the_commands_for_rights_hold_no_secret_and_read_a_certificate_where_they_run() -> None:
    assert not any("hush" in one for one in commands(config(USER)))
    told = replace(config(), security={"security.protocol": "SSL", "ssl.certificate.location": "/my certs/a.crt"})
    assert all(
        '--allow-principal "User:$(openssl x509 ' in one and "'/my certs/a.crt'" in one for one in commands(told)
    )


def test_without_a_prefix_each_topic_is_named() -> None:
    of = config("kafka.topic_prefix=")
    assert any("--topic features --topic spans" in one for one in commands(of))


@pytest.mark.parametrize(
    ("offset_ms", "spread_ms", "outcome", "says"),
    [
        (3, 5, "ok", "within 5 ms"),
        (-4_000, 5, "ok", "within 4,000 ms"),
        (61_000, 5, "failed", "61 s ahead of ours"),
        (-7_200_000, 5, "failed", "7,200 s behind ours"),
    ],
)
def test_the_clock_of_the_broker(offset_ms: int, spread_ms: int, outcome: str, says: str) -> None:
    found = judge_offset(offset_ms, spread_ms)
    assert found.outcome == outcome and found.text.startswith(says)


@pytest.mark.parametrize(
    ("newest", "outcome", "says"),
    [
        (None, "note", "no message"),
        (1_000_000, "ok", "the newest message is 0 s old"),
        (0, "ok", "the newest message is 17 min old"),
        (1_060_000, "warning", "the newest message is dated 60 s ahead of us"),
        (11_000_000, "failed", "the newest message is dated 3 h ahead of us"),
    ],
)
def test_the_clock_of_who_sends_telemetry(newest: int | None, outcome: str, says: str) -> None:
    found = judge_newest("logs", newest, now_ms=1_000_000, future_ms=600_000)
    assert found.outcome == outcome and found.text.startswith(says)


@pytest.mark.parametrize(
    ("members", "role", "place", "outcome", "says"),
    [
        (2, "decode", (5, 0, 9), "ok", "2 workers, 4 messages behind"),
        (0, "decode", (None, 0, 9), "note", "no worker has run yet"),
        (0, "decode", (5, 0, 9), "warning", "nobody works, 4 messages wait; start `opsbrain worker`"),
        (0, "decode", (9, 0, 9), "note", "nobody works, 0 messages wait"),
        (1, "decode", (5, 7, 9), "warning", "t/0: 2 messages were deleted before they were read; raise retention.ms"),
        (1, "steps", (5, 7, 9), "failed", "t/0: 2 messages were deleted before they were read, so state cannot"),
        (1, "steps", (50, 7, 9), "failed", "t/0 ends at 9, and 50 was read: it was made anew"),
    ],
)
def test_a_group(members: int, role: str, place: tuple[int | None, int, int], outcome: str, says: str) -> None:
    found = judge_group(Group("g", "STABLE", members, ALL), role, [Place("t", 0, *place)])
    assert found.outcome == outcome and found.text.startswith(says)


def test_some_brokers_of_several_are_away() -> None:
    there, away = Answer("a:1", "", {0: 13}), Answer("b:2", "connection refused")
    assert _brokers(config(), [there, replace(there, address="b:2")], 3).outcome == "ok"
    some = _brokers(config(), [there, away], 3)
    assert some.outcome == "warning" and some.text.endswith("do not answer: b:2 (connection refused)")
    assert _brokers(config(), [away], 3).outcome == "failed"


@pytest.mark.parametrize(
    ("versions", "release"), [({0: 13, 1: 18}, "4.1 or newer"), ({1: 12}, "2.7 or newer"), ({}, "older")]
)
def test_the_release_whose_protocol_is_spoken(versions: dict[int, int], release: str) -> None:
    assert release_of(versions).startswith(release)


def test_what_goes_over_the_wire_is_said_without_the_password() -> None:
    plain, user = _security(config()), _security(config(USER))
    assert (plain.outcome, user.outcome) == ("ok", "warning") and "hush" not in user.text
    blind = replace(config(), security={"security.protocol": "SSL", "enable.ssl.certificate.verification": "false"})
    assert _security(blind).outcome == "warning"


@pytest.mark.parametrize(
    ("security", "who"),
    [
        ({"sasl.mechanisms": "scram-sha-512", "sasl.username": "worker"}, "SCRAM-SHA-512 as worker"),
        ({"sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.client.id": "opsbrain"}, "OAUTHBEARER as opsbrain"),
    ],
)
def test_who_we_are_is_said_of_every_mechanism(security: Mapping[str, str], who: str) -> None:
    of = replace(config(), security={"security.protocol": "sasl_ssl", **security})
    assert _security(of).text == f"SASL_SSL, {who}"
