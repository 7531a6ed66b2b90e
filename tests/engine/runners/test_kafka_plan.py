"""Topics as they should be, and the commands that make them so."""

from __future__ import annotations

import pytest

from engine.runners.kafka.config import KafkaConfig, RetentionHours
from engine.runners.kafka.plan import altering, creating, differences, plan_of

HOUR_MS = 3_600_000


def config(**more: object) -> KafkaConfig:
    return KafkaConfig("a:1,b:2", (), (), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("brokers", "replication", "copies", "in_sync"),
    [(1, 0, 1, "1"), (2, 0, 2, "1"), (3, 0, 3, "2"), (9, 0, 3, "2"), (9, 1, 1, "1"), (9, 5, 5, "2"), (0, 0, 1, "1")],
)
def test_copies_by_setting_or_by_how_many_brokers_there_are(
    brokers: int, replication: int, copies: int, in_sync: str
) -> None:
    plans = plan_of(config(replication=replication), brokers)
    assert {(one.copies, one.settings["min.insync.replicas"]) for one in plans} == {(copies, in_sync)}
    assert {one.partitions for one in plans} == {8}


def test_each_class_of_topic_is_kept_as_long_as_settings_say() -> None:
    plans = plan_of(config(retention_hours=RetentionHours(steps=1, conclusions=2, refused=3)), 1)
    kept = {one.name: int(one.settings.get("retention.ms", "-1")) / HOUR_MS for one in plans}
    assert {name for name, hours in kept.items() if hours == 2} == {
        "opsbrain.anomalies",
        "opsbrain.incidents",
        "opsbrain.fixes",
    }
    assert {name for name, hours in kept.items() if hours == 3} == {"opsbrain.late", "opsbrain.deadletters"}
    assert kept["opsbrain.features"] == kept["opsbrain.spans"] == kept["opsbrain.history"] == 1
    assert len(plans) == 13
    assert all(
        int(one.settings["segment.ms"]) <= max(kept[one.name], 1) * HOUR_MS for one in plans if kept[one.name] > 0
    )


def test_snapshots_alone_are_compacted_and_not_deleted_by_age() -> None:
    plans = {one.name: one.settings for one in plan_of(config(), 1)}
    assert {name for name, how in plans.items() if how["cleanup.policy"] == "compact"} == {"opsbrain.snapshots"}
    snapshots = plans["opsbrain.snapshots"]
    assert "retention.ms" not in snapshots and int(snapshots["max.compaction.lag.ms"]) <= HOUR_MS


def test_a_topic_that_is_as_it_should_be_has_no_differences() -> None:
    for plan in plan_of(config(), 3):
        assert list(differences(plan, {**plan.settings, "segment.index.bytes": "1"})) == []
        assert list(differences(plan, {})) == []  # a broker that does not tell


def test_differences_are_said_and_can_be_put_right() -> None:
    plan = plan_of(config(), 1)[0]
    found = list(differences(plan, {**plan.settings, "retention.ms": "5", "cleanup.policy": "compact"}))
    assert [str(one) for one in found] == [
        "opsbrain.features has cleanup.policy = compact, settings say delete",
        "opsbrain.features has retention.ms = 5, settings say 604800000",
    ]
    assert list(altering(found, config())) == [
        "kafka-configs.sh --bootstrap-server a:1,b:2 --alter --topic opsbrain.features --add-config "
        "cleanup.policy=delete,retention.ms=604800000"
    ]


def test_a_command_names_all_that_a_worker_would_ask_for_and_who_may_run_it() -> None:
    told = config(topic_prefix="team a.", security={"security.protocol": "SASL_SSL", "sasl.password": "hush"})
    command = creating(plan_of(told, 3)[0], told)
    assert command.startswith(
        "kafka-topics.sh --bootstrap-server a:1,b:2 --command-config admin.properties --create --if-not-exists "
        "--topic 'team a.features' --partitions 8 --replication-factor 3 --config cleanup.policy=delete "
    )
    assert command.count("--config") == len(plan_of(told, 3)[0].settings) and "hush" not in command
