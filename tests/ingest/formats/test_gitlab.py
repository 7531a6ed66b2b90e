"""GitLab's hooks: deployments, jobs and pipelines, with times as GitLab writes them."""

import json
from typing import Any

import pytest

from ingest.formats.gitlab import iso
from ingest.identity import Identity
from ingest.registry import format_of
from tests.ingest.event_formats import decode, reasons, rows

PROJECT = {"path_with_namespace": "shop/checkout"}
DEPLOYMENT = {
    "object_kind": "deployment",
    "status": "success",
    "status_changed_at": "2021-04-28 21:50:00 +0200",
    "deployment_id": 15,
    "environment": "production",
    "short_sha": "279484c0",
    "ref": "main",
    "project": PROJECT,
    "user": {"username": "jo"},
}
JOB = {
    "object_kind": "build",
    "build_id": 7,
    "build_name": "test",
    "build_stage": "check",
    "build_status": "failed",
    "build_failure_reason": "script_failure",
    "build_created_at": "2021-02-23 02:41:37 UTC",
    "build_started_at": "2021-02-23 02:42:00 UTC",
    "build_finished_at": "2021-02-23 02:44:07 UTC",
    "sha": "2293ada6b400935a1378653304eaf6221e0fdb8f",
    "ref": "main",
    "project": PROJECT,
}
PIPELINE = {
    "object_kind": "pipeline",
    "project": PROJECT,
    "object_attributes": {"id": 31, "status": "running", "ref": "main", "created_at": "2016-08-12 15:23:28 UTC"},
    "builds": [{"name": "a", "status": "running", "started_at": "2016-08-12 15:26:12 UTC"}],
}
AT_MS = 1_619_639_400_000


def test_a_deployment_is_an_event_of_the_service_that_the_project_delivers() -> None:
    (row,) = rows("gitlab", DEPLOYMENT)
    assert row.pop("identity")
    assert row == {
        "ts_ms": AT_MS,
        "offset": 0,
        "entity": "demo/service/default/checkout",
        "reason": "Deployed",
        "type": "Normal",
        "message": "deployment of shop/checkout main 279484c0 to production success by jo",
        "count": 1,
        "uid": "15",
    }


@pytest.mark.parametrize(
    ("changed", "entity"),
    [
        ({"environment": "staging"}, "demo/service/staging/checkout"),
        ({"environment": "eu-1", "environment_tier": "production"}, "demo/service/default/checkout"),
        ({"environment": "live", "environment_tier": "testing"}, "demo/service/live/checkout"),
        ({"environment": None}, "demo/service/default/checkout"),
    ],
)
def test_the_environment_names_the_namespace_except_for_production(changed: dict[str, Any], entity: str) -> None:
    (row,) = rows("gitlab", DEPLOYMENT | changed)
    assert row["entity"] == entity


def test_an_override_names_the_service_of_a_project() -> None:
    identity = Identity("demo", overrides={"ci=shop/checkout": "demo/service/shop/cart"})
    wire = format_of("gitlab", identity)
    frame = wire.decode([json.dumps(DEPLOYMENT).encode()], [0], "in").rows
    assert frame["entity"].to_list() == ["demo/service/shop/cart"]


@pytest.mark.parametrize(
    ("status", "reason", "type"),
    [
        ("running", "DeployStarted", "Normal"),
        ("success", "Deployed", "Normal"),
        ("failed", "DeployFailed", "Warning"),
        ("canceled", "DeployCanceled", "Normal"),
        ("waiting_for_approval", "DeployWaitingForApproval", "Normal"),
    ],
)
def test_statuses_of_deployments(status: str, reason: str, type: str) -> None:
    (row,) = rows("gitlab", DEPLOYMENT | {"status": status})
    assert (row["reason"], row["type"]) == (reason, type)


def test_a_job_happened_at_the_latest_time_it_tells() -> None:
    failed, running = rows("gitlab", JOB, JOB | {"build_status": "running", "build_finished_at": None})
    assert (failed["reason"], failed["type"], failed["entity"]) == ("JobFailed", "Warning", "demo/ci/-/shop_checkout")
    assert failed["message"] == "job test of stage check failed (script_failure): shop/checkout main 2293ada6"
    assert failed["ts_ms"] - running["ts_ms"] == 127_000
    assert running["reason"] == "JobRunning"
    assert failed["identity"] != running["identity"]


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"project": None, "repository": {"homepage": "https://gitlab.example.com/a/b/c"}}, "a_b_c"),
        ({"project": None, "project_name": "Shop / Check out"}, "Shop_Check_out"),
        ({"project": {}, "repository": {"homepage": "http://[bad"}, "project_name": "a/b"}, None),
        ({"project": None}, None),
    ],
)
def test_older_hooks_name_the_project_otherwise(said: dict[str, Any], path: str | None) -> None:
    decoded = decode("gitlab", JOB | said)
    if path is None:
        assert reasons(decoded) == ["no project"]
    else:
        assert decoded.rows["entity"].to_list() == [f"demo/ci/-/{path}"]


def test_a_pipeline_moves_with_its_jobs() -> None:
    ended = PIPELINE | {
        "object_attributes": PIPELINE["object_attributes"]
        | {"status": "failed", "finished_at": "2016-08-12 15:30:00 UTC"},
        "builds": [{"name": "a", "status": "failed"}, {"name": "b", "status": "success"}],
    }
    running, failed = rows("gitlab", PIPELINE, ended)
    assert (running["reason"], running["ts_ms"]) == ("PipelineRunning", 1_471_015_572_000)
    assert (failed["reason"], failed["type"], failed["ts_ms"]) == ("PipelineFailed", "Warning", 1_471_015_800_000)
    assert failed["message"] == "pipeline 31 failed: shop/checkout main failed: a"


def test_other_hooks_are_left_out() -> None:
    decoded = decode("gitlab", {"object_kind": "push"}, {"object_kind": "note", "project": PROJECT})
    assert (decoded.rows.height, decoded.letters) == (0, [])
    assert decoded.dropped == {"not a deployment, job or pipeline": 2}


def test_what_lacks_a_status_or_has_an_odd_time_is_refused() -> None:
    bad = [
        DEPLOYMENT | {"status": None},
        JOB | {"build_status": ""},
        PIPELINE | {"object_attributes": {"id": 1}},
        DEPLOYMENT | {"status_changed_at": "yesterday"},
        JOB | {"build_created_at": "2021-02-23 25:41:37 UTC"},
        {"object_kind": 7},
    ]
    assert len(reasons(decode("gitlab", *bad))) == len(bad)


def test_a_hook_without_a_time_happened_when_it_came() -> None:
    (row,) = rows("gitlab", DEPLOYMENT | {"status_changed_at": None}, received_ms=[AT_MS])
    assert row["ts_ms"] == AT_MS


def test_times_of_every_form() -> None:
    assert iso("2021-04-28 21:50:00 -0330") == "2021-04-28T21:50:00-0330"
    assert iso("2025-03-19T16:19:36.993+08:00") == "2025-03-19T16:19:36.993+08:00"
    assert iso("") is None


def test_text_that_is_no_utf8_within_a_part_is_refused() -> None:
    body = json.dumps(PIPELINE).encode().replace(b'"main"', b'"m\xff"')
    deployment = json.dumps(DEPLOYMENT).encode().replace(b'"production"', b'"p\xff"')
    assert reasons(decode("gitlab", body)) == ["a pipeline without an id or status"]
    assert reasons(decode("gitlab", deployment)) == ["a deployment's environment is no text"]
