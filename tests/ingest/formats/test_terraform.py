"""Terraform: lines of plan and apply, whole plans, and that no secret of a plan is ever told.

The golden messages come from a real run (Terraform 1.11, the AWS provider 5.100, a double of AWS).
"""

import json
from typing import Any

import pytest

from tests.ingest.event_formats import PLANTED, decode, reasons, rows
from tests.ingest.golden import golden

AT = "2026-08-22T10:00:00.000000Z"
AT_MS = 1_787_392_800_000


def line(type: str, **said: Any) -> dict[str, Any]:
    return {"@level": "info", "@message": "words", "@module": "terraform.ui", "@timestamp": AT, "type": type} | said


def resource(type: str = "aws_sqs_queue", module: str = "") -> dict[str, Any]:
    address = f"{module}.{type}.main" if module else f"{type}.main"
    return {"addr": address, "module": module, "resource": f"{type}.main", "resource_type": type, "resource_key": None}


def done(type: str, id: str, action: str = "update", module: str = "") -> dict[str, Any]:
    hook = {"resource": resource(type, module), "action": action, "id_key": "id", "id_value": id, "elapsed_seconds": 1}
    return line("apply_complete", hook=hook)


def plan(*changes: dict[str, Any], **said: Any) -> dict[str, Any]:
    return {"format_version": "1.2", "timestamp": "2026-08-22T10:00:00Z", "resource_changes": list(changes)} | said


def change(type: str = "aws_sqs_queue", actions: tuple[str, ...] = ("update",), **said: Any) -> dict[str, Any]:
    return {"address": f"{type}.main", "type": type, "change": {"actions": list(actions)} | said}


def test_what_was_done_is_an_event_of_what_it_was_done_to() -> None:
    (row,) = rows("terraform", done("aws_sqs_queue", "https://sqs.eu-west-1.amazonaws.com/1/mails"))
    assert row.pop("identity")
    assert row == {
        "ts_ms": AT_MS,
        "offset": 0,
        "entity": "demo/queue/-/mails",
        "reason": "ApplyComplete",
        "type": "Normal",
        "message": "words",
        "count": 1,
        "uid": "aws_sqs_queue.main",
    }


@pytest.mark.parametrize(
    ("type", "id", "entity"),
    [
        ("aws_instance", "i-0abc", "node/-/i-0abc"),
        ("aws_lambda_function", "resize", "service/default/resize"),
        ("aws_ecs_service", "arn:aws:ecs:eu-west-1:1:service/shop/checkout", "service/default/checkout"),
        ("aws_db_instance", "db-ABCDEF", "ci/-/terraform_module.net"),
        ("aws_security_group", "sg-1", "ci/-/terraform_module.net"),
        ("kubernetes_deployment_v1", "shop/checkout", "service/shop/checkout"),
        ("kubernetes_config_map", "shop/checkout-config", "service/shop/checkout"),
        ("kubernetes_daemonset", "infra/logger", "service/infra/logger"),
        ("kubernetes_namespace", "shop", "service/default/shop"),
        ("random_pet", "cat", "ci/-/terraform_module.net"),
    ],
)
def test_an_id_names_the_entity_where_it_is_a_name(type: str, id: str, entity: str) -> None:
    (row,) = rows("terraform", done(type, id, module="module.net"))
    assert row["entity"] == f"demo/{entity}"


def test_lines_that_tell_of_changes() -> None:
    planned = line("planned_change", change={"resource": resource(), "action": "replace"})
    drift = line("resource_drift", change={"resource": resource(), "action": "update"})
    errored = line("apply_errored", hook={"resource": resource(), "action": "create"})
    summary = line("change_summary", changes={"add": 1, "change": 0, "remove": 0, "operation": "destroy"})
    error = {
        "severity": "error",
        "summary": "no such bucket",
        "detail": "it is gone",
        "address": "module.a.module.b[0].x.y",
    }
    found = rows("terraform", planned, drift, errored, summary, line("diagnostic", diagnostic=error))
    assert [(row["reason"], row["type"]) for row in found] == [
        ("PlannedReplace", "Normal"),
        ("DriftDetected", "Normal"),
        ("ApplyErrored", "Warning"),
        ("Destroyed", "Normal"),
        ("TerraformError", "Warning"),
    ]
    assert found[4]["entity"] == "demo/ci/-/terraform_module.a.module.b[0]"
    assert found[4]["message"] == "module.a.module.b[0].x.y: no such bucket it is gone"


def test_progress_is_left_out() -> None:
    idle = [
        line("version", ui="1.2"),
        line("log"),
        line("apply_start", hook={"resource": resource(), "action": "create"}),
        line("diagnostic", diagnostic={"severity": "warning", "summary": "old"}),
    ]
    unchanged = [
        line("planned_change", change={"resource": resource(), "action": "noop"}),
        done("aws_caller_identity", "1", action="read"),
    ]
    decoded = decode("terraform", *idle, *unchanged)
    assert (decoded.rows.height, decoded.letters) == (0, [])
    assert decoded.dropped == {"progress, no change": 4, "no-op or read": 2}


def test_a_whole_run_in_one_message_is_read_line_by_line() -> None:
    body = (
        b"\n".join(json.dumps(done("aws_sqs_queue", f"q-{number}")).encode() for number in range(3)) + b"\nError: no\n"
    )
    decoded = decode("terraform", body)
    assert decoded.rows["entity"].to_list() == [f"demo/queue/-/q-{number}" for number in range(3)]
    assert reasons(decoded) == ["JSON is malformed: invalid character"]


@pytest.mark.parametrize(
    ("planned", "entity"),
    [
        (change(after={"arn": "arn:aws:sqs:e:1:mails"}), "queue/-/mails"),
        (change(before={"name": "mails"}, after=None, actions=("delete",)), "queue/-/mails"),
        (change("aws_db_instance", after={"identifier": "orders", "arn": None}), "database/-/orders"),
        (change("aws_instance", after={"arn": "arn:aws:ec2:e:1:instance/i-1"}), "node/-/i-1"),
        (change("aws_lambda_permission", after={"function_name": "resize"}), "service/default/resize"),
        (change("aws_s3_bucket_policy", after={"bucket": "invoices"}), "database/-/invoices"),
        (change("aws_iam_role", after={"arn": "arn:aws:iam::1:role/x"}), "account/-/1"),
        (change("aws_iam_role", after={"name": "x"}), "ci/-/terraform_root"),
        (
            change("kubernetes_deployment", after={"metadata": [{"name": "checkout", "namespace": "shop"}]}),
            "service/shop/checkout",
        ),
        (
            change(
                "kubernetes_service",
                after={"metadata": [{"name": "c", "namespace": "shop", "labels": {"app": "cart"}}]},
            ),
            "service/shop/cart",
        ),
        (
            change(
                "kubernetes_manifest",
                after={"manifest": {"kind": "Deployment", "metadata": {"name": "checkout", "namespace": "shop"}}},
            ),
            "service/shop/checkout",
        ),
        (change("kubernetes_deployment", after={"metadata": []}), "ci/-/terraform_root"),
        (change("helm_release", after={"name": "redis", "namespace": "shop"}), "service/shop/redis"),
        (change("random_pet") | {"module_address": "module.net"}, "ci/-/terraform_module.net"),
    ],
)
def test_a_planned_change_is_about_what_the_resource_stands_for(planned: dict[str, Any], entity: str) -> None:
    (row,) = rows("terraform", plan(planned))
    assert (row["entity"], row["ts_ms"]) == (f"demo/{entity}", AT_MS)


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        (("create",), "PlannedCreate"),
        (("delete", "create"), "PlannedReplace"),
        (("create", "delete"), "PlannedReplace"),
        (("forget",), "PlannedForget"),
    ],
)
def test_actions(actions: tuple[str, ...], reason: str) -> None:
    (row,) = rows("terraform", plan(change(actions=actions)))
    assert row["reason"] == reason


def test_changes_are_told_by_attribute_with_values_only_where_they_may_be() -> None:
    before = {
        "a": 1,
        "b": "x",
        "c": None,
        "d": [1],
        "e": "secret",
        "f": "old",
        "g": "y" * 100,
        "api_token": "t",
        "h": {"i": "s"},
    }
    after = {"a": 2, "b": "", "c": True, "d": [2], "e": "other", "g": "z", "api_token": "u", "h": {"i": "t"}}
    told = change(
        before=before,
        after=after,
        before_sensitive={"e": True, "h": {"i": True}},
        after_sensitive={"e": True},
        after_unknown={"f": True, "d": [False]},
    )
    (row,) = rows("terraform", plan(told))
    assert row["message"] == (
        'aws_sqs_queue.main: plan to update changes a 1 -> 2, api_token, b x -> "", c unset -> true, d, e, '
        "f -> (known after apply), g and 1 more"
    )


def test_a_resource_that_is_sensitive_as_a_whole_tells_no_value() -> None:
    (row,) = rows("terraform", plan(change(before={"a": 1}, after={"a": 2}, after_sensitive=True)))
    assert row["message"] == "aws_sqs_queue.main: plan to update changes a"


def test_what_stays_is_left_out() -> None:
    decoded = decode(
        "terraform", plan(change(actions=("no-op",)), change(actions=("read",)), change(actions=())), plan()
    )
    assert decoded.dropped == {"no-op or read": 3, "a state or a plan without changes": 1}


def test_other_versions_and_shapes_are_refused() -> None:
    decoded = decode("terraform", plan(format_version="2.0"), line("version", ui="2.0"), {"values": {}}, plan(7))
    assert sorted(reasons(decoded)) == [
        "Expected `object`, got `int` - at `$.resource_changes[0]`",
        "format_version of the plan is not 1.x",
        "neither a line of -json nor a plan of show -json",
        "version of the machine-readable UI is not 1.x",
    ]


def test_nothing_of_a_plan_is_kept_in_a_dead_letter() -> None:
    (real,) = [body for body in golden("terraform") if PLANTED.encode() in body and b"resource_drift" in body]
    broken = [real[:cut] for cut in range(100, len(real) - 2, 997)] + [real.replace(b'"1.2"', b'"2.0"'), real[500:]]
    letters = decode("terraform", *broken).letters
    assert len(letters) == len(broken)
    assert {one.body for one in letters} == {"(a Terraform plan holds secrets in plain: nothing of it is kept)"}


def test_the_real_plan_shows_what_changes() -> None:
    told = {row["uid"]: row for row in rows("terraform", *golden("terraform")) if "plan to update" in row["message"]}
    assert told["aws_sqs_queue.mails"]["message"].endswith("changes visibility_timeout_seconds 30 -> 45")
    assert told["aws_sqs_queue.mails"]["entity"] == "demo/queue/-/mails"
    assert told["aws_security_group.web"]["message"].endswith("changes ingress")
    assert ", value, " in told["aws_ssm_parameter.db"]["message"]
