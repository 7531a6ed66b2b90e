"""Which events are read as changes, whoever sent them, and that the ranking shows them."""

from collections import Counter
from typing import Any

import polars as pl
import pytest

from engine.inventory import Inventory
from engine.schemas import SCHEMAS
from engine.topology import Edge, Topology
from ingest.identity import Identity
from ingest.registry import format_of
from rca.changes import ObjectChanges
from rca.event_changes import of_event
from rca.examples import ONSET_MS, anomaly, history, incident, service
from rca.ranker import RankerConfig
from tests.ingest.golden import golden


def row(
    reason: str, message: str = "", type: str = "Normal", entity: str = "demo/service/shop/store"
) -> dict[str, Any]:
    return {"entity": entity, "ts_ms": 5_000, "reason": reason, "type": type, "message": message}


def told(reason: str, message: str = "", type: str = "Normal") -> str | None:
    (kind,) = [change.kind for change in of_event(row(reason, message, type), Inventory())] or [None]
    return kind


@pytest.mark.parametrize(
    ("reason", "service", "kind"),
    [
        ("UpdateService", "ecs", "deployment"),
        ("RegisterTaskDefinition", "ecs", "deployment"),
        ("UpdateFunctionCode20150331v2", "lambda", "deployment"),
        ("UpdateFunctionConfiguration20150331v2", "lambda", "deployment"),
        ("UpdateAlias20150331", "lambda", "deployment"),
        ("ExecuteChangeSet", "cloudformation", "deployment"),
        ("SetDesiredCapacity", "autoscaling", "scale"),
        ("DeregisterTargets", "elasticloadbalancing", "scale"),
        ("TerminateInstances", "ec2", "node"),
        ("RebootInstances", "ec2", "node"),
        ("ModifyDBInstance", "rds", "config"),
        ("RebootDBInstance", "rds", "config"),
        ("FailoverDBCluster", "rds", "config"),
        ("AttachRolePolicy", "iam", "config"),
        ("PutRolePolicy", "iam", "config"),
        ("AuthorizeSecurityGroupIngress", "ec2", "config"),
        ("SetQueueAttributes", "sqs", "config"),
        ("ChangeResourceRecordSets", "route53", "config"),
        ("DeleteTable", "dynamodb", "config"),
        ("CreateLogStream", "logs", None),
        ("UpdateInstanceInformation", "ssm", None),
        ("CreateServiceLinkedRole", "iam", None),
        ("ConsoleLogin", "signin", None),
        ("AssumeRole", "sts", None),
        ("GetObject", "s3", None),
        ("ApiCallRateInsight", "autoscaling", None),
    ],
)
def test_calls_that_write_and_succeed_are_changes(reason: str, service: str, kind: str | None) -> None:
    message = f"{service}.amazonaws.com: {reason} by arn:aws:iam::1:user/jo"
    assert told(reason, message) == kind
    assert told(reason, message, "Warning") is None
    assert told(reason, f"{reason} is also what somebody else says") is None


@pytest.mark.parametrize(
    ("reason", "type", "kind"),
    [
        ("Deployed", "Normal", "deployment"),
        ("DeployStarted", "Normal", "deployment"),
        ("DeployFailed", "Warning", "deployment"),
        ("DeployCreated", "Normal", None),
        ("SyncSucceeded", "Normal", "deployment"),
        ("SyncRunning", "Normal", "deployment"),
        ("SyncFailed", "Warning", "deployment"),
        ("HealthDegraded", "Warning", None),
        ("ApplyComplete", "Normal", "config"),
        ("ApplyErrored", "Warning", None),
        ("PlannedUpdate", "Normal", None),
        ("DriftDetected", "Normal", None),
        ("PipelineSucceeded", "Normal", None),
        ("JobFailed", "Warning", None),
        ("TestsFailed", "Warning", None),
        ("KubePodCrashLooping", "Warning", None),
        ("Pulled", "Normal", None),
        ("CreateContainerError", "Warning", None),
    ],
)
def test_what_is_done_is_a_change_and_what_is_planned_built_or_alarmed_is_none(
    reason: str, type: str, kind: str | None
) -> None:
    assert told(reason, "some words", type) == kind


def test_a_change_says_what_was_done_in_the_senders_words_cut_short() -> None:
    (change,) = of_event(row("Deployed", "deployment of g/store main {279484c0} " + "x" * 500), Inventory())
    assert change.summary.startswith("store: deployment of g/store main {279484c0} x")
    assert len(change.summary) == 200
    (change,) = of_event(row("SuccessfulRescale"), Inventory())
    assert change.summary == "store: SuccessfulRescale"


def events_of(name: str) -> pl.DataFrame:
    bodies = golden(name)
    return format_of(name, Identity("demo")).decode(bodies, range(len(bodies)), "in").rows


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("cloudtrail", {"node": 1, "config": 4, "deployment": 3, "scale": 2}),
        ("argocd", {"deployment": 3}),
        ("gitlab", {"deployment": 4}),
        ("github", {"deployment": 3}),
        ("terraform", {"config": 3}),
        ("alertmanager", {}),
        ("junit", {}),
    ],
)
def test_changes_of_real_messages(name: str, kinds: dict[str, int]) -> None:
    none = pl.DataFrame(schema=SCHEMAS["objects"])
    found = ObjectChanges().changes(events_of(name), none, Inventory())
    assert Counter(change.kind for change in found) == kinds


@pytest.mark.parametrize(
    ("name", "entity", "words"),
    [
        ("cloudtrail", "demo/database/-/orders", "ModifyDBInstance by arn:aws:iam::123456789012:role/deployer"),
        ("terraform", "demo/queue/-/mails", "aws_sqs_queue.mails: Modifications complete"),
        ("argocd", service("checkout"), "checkout at 7b1f0c2d"),
        ("github", "demo/service/default/checkout", "deployment of shop/checkout main f95f852b to production"),
    ],
)
def test_the_ranking_shows_what_was_done_before_trouble_began(name: str, entity: str, words: str) -> None:
    caller = "demo/service/shop/gateway"
    told = events_of(name).filter(pl.col("entity") == entity).with_columns(ts_ms=pl.lit(ONSET_MS - 40_000, pl.Int64))
    changes = ObjectChanges().changes(told, pl.DataFrame(schema=SCHEMAS["objects"]), Inventory())
    case = incident([anomaly(caller, "span.p99_ms", 1900.0), anomaly(entity, "latency_ms", 900.0)], changes[:1])
    topology = Topology({Edge(caller, entity, "calls"): ONSET_MS})
    ranking = RankerConfig().build().rank(case, topology, history())
    assert ranking.causes[0].entity == entity
    line = ranking.causes[0].evidence[0]
    assert line.kind == "change"
    assert words in line.text
    assert "40 s before the first sign" in line.text
