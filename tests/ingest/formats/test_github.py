"""GitHub's deliveries: told apart by their keys, since the event's name is in a header that nobody keeps."""

from typing import Any

import pytest

from tests.ingest.event_formats import decode, reasons, rows

REPOSITORY = {"full_name": "shop/checkout"}
DEPLOYMENT = {
    "id": 5,
    "environment": "production",
    "ref": "main",
    "sha": "f95f852bd8fca8",
    "created_at": "2026-08-22T10:00:00Z",
}
STATUS = {"id": 9, "state": "success", "created_at": "2026-08-22T10:01:00Z"}
JOB = {
    "id": 1,
    "name": "unit",
    "workflow_name": "check",
    "status": "completed",
    "conclusion": "failure",
    "started_at": "2026-08-22T10:00:00Z",
    "completed_at": "2026-08-22T10:02:00Z",
}
RUN = {
    "id": 2,
    "name": "check",
    "run_number": 17,
    "run_attempt": 1,
    "event": "push",
    "created_at": "2026-08-22T10:00:00Z",
}
AT_MS = 1_787_392_800_000


def delivery(**said: Any) -> dict[str, Any]:
    return {"repository": REPOSITORY, "sender": {"login": "jo"}} | said


def test_a_status_of_a_deployment() -> None:
    (row,) = rows(
        "github", delivery(action="created", deployment=DEPLOYMENT, deployment_status=STATUS, workflow_run=RUN)
    )
    assert row.pop("identity")
    assert row == {
        "ts_ms": AT_MS + 60_000,
        "offset": 0,
        "entity": "demo/service/default/checkout",
        "reason": "Deployed",
        "type": "Normal",
        "message": "deployment of shop/checkout main f95f852b to production success by jo",
        "count": 1,
        "uid": "5",
    }


@pytest.mark.parametrize(
    ("state", "reason", "type"),
    [
        ("pending", "DeployPending", "Normal"),
        ("queued", "DeployQueued", "Normal"),
        ("in_progress", "DeployStarted", "Normal"),
        ("success", "Deployed", "Normal"),
        ("failure", "DeployFailed", "Warning"),
        ("error", "DeployFailed", "Warning"),
        ("inactive", "DeployInactive", "Normal"),
    ],
)
def test_states_of_deployments(state: str, reason: str, type: str) -> None:
    (row,) = rows("github", delivery(deployment=DEPLOYMENT, deployment_status=STATUS | {"state": state}))
    assert (row["reason"], row["type"]) == (reason, type)


@pytest.mark.parametrize(
    ("said", "entity"),
    [
        ({"environment": "staging", "production_environment": False}, "demo/service/staging/checkout"),
        ({"environment": "eu", "production_environment": True}, "demo/service/default/checkout"),
        ({"environment": "production", "production_environment": False}, "demo/service/default/checkout"),
    ],
)
def test_the_environment_names_the_namespace_except_for_production(said: dict[str, Any], entity: str) -> None:
    (row,) = rows("github", delivery(action="created", deployment=DEPLOYMENT | said))
    assert (row["entity"], row["reason"]) == (entity, "DeployCreated")


@pytest.mark.parametrize(
    ("said", "reason", "late_ms"),
    [
        ({"workflow_job": JOB, "deployment": DEPLOYMENT}, "JobFailed", 120_000),
        ({"workflow_job": JOB | {"status": "queued", "conclusion": None, "completed_at": None}}, "JobQueued", 0),
        ({"workflow_run": RUN | {"status": "queued"}}, "WorkflowQueued", 0),
        (
            {"workflow_run": RUN | {"conclusion": "success", "updated_at": "2026-08-22T10:03:00Z"}},
            "WorkflowSucceeded",
            180_000,
        ),
        ({"workflow_run": RUN | {"conclusion": "timed_out"}}, "WorkflowTimedOut", 0),
        ({"action": "completed", "check_run": JOB | {"app": {"slug": "scanner"}}}, "CheckFailed", 120_000),
        (
            {"action": "published", "release": {"id": 3, "tag_name": "v1", "published_at": "2026-08-22T10:00:00Z"}},
            "Released",
            0,
        ),
    ],
)
def test_what_runs_is_an_event_of_the_repository(said: dict[str, Any], reason: str, late_ms: int) -> None:
    (row,) = rows("github", delivery(**said))
    assert (row["reason"], row["ts_ms"], row["entity"]) == (reason, AT_MS + late_ms, "demo/ci/-/shop_checkout")


@pytest.mark.parametrize(
    "said",
    [
        {"zen": "Keep it logically awesome.", "hook_id": 1, "hook": {}},
        {"ref": "refs/heads/main", "commits": []},
        {"action": "opened", "pull_request": {}},
        {"action": "approved", "workflow_run": RUN, "since": "2026-08-22T10:00:00Z", "approver": {}},
        {"action": "requested", "environment": "production", "deployment": DEPLOYMENT},
        {"action": "created", "check_run": JOB},
        {"action": "created", "release": {"id": 3}},
    ],
)
def test_other_deliveries_are_left_out(said: dict[str, Any]) -> None:
    decoded = decode("github", delivery(**said), {**said, "repository": None})
    assert (decoded.rows.height, decoded.letters) == (0, [])
    assert decoded.dropped == {"not a deployment, workflow, check or release": 2}


def test_a_check_of_actions_is_told_by_its_job() -> None:
    decoded = decode("github", delivery(action="completed", check_run=JOB | {"app": {"slug": "github-actions"}}))
    assert decoded.dropped == {"check of GitHub Actions, told by its job": 1}


def test_another_attempt_is_another_row() -> None:
    first, again, other = rows("github", *(delivery(workflow_job=JOB | {"run_attempt": one}) for one in (1, 1, 2)))
    assert first["identity"] == again["identity"] != other["identity"]


def test_what_has_no_repository_or_an_odd_time_is_refused() -> None:
    decoded = decode(
        "github", {"workflow_job": JOB}, delivery(workflow_job=JOB | {"completed_at": "soon"}), {"deployment": 7}
    )
    assert decoded.rows.is_empty()
    assert len(reasons(decoded)) == 3
