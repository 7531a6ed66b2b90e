"""CloudTrail: every shape it comes in, what is left out, and whom a call is about."""

import json
from typing import Any

import pytest

from tests.ingest.event_formats import decode, reasons, rows

JO = "arn:aws:iam::123456789012:user/jo"
RECORD = {
    "eventVersion": "1.08",
    "userIdentity": {"type": "IAMUser", "arn": JO, "accountId": "123456789012"},
    "eventTime": "2026-08-22T10:00:00Z",
    "eventSource": "ec2.amazonaws.com",
    "eventName": "StartInstances",
    "awsRegion": "us-east-2",
    "sourceIPAddress": "203.0.113.9",
    "requestParameters": {},
    "responseElements": None,
    "eventID": "e-1",
    "readOnly": False,
}
AT_MS = 1_787_392_800_000


def record(**changed: Any) -> dict[str, Any]:
    return RECORD | changed


def entity(**changed: Any) -> str:
    (row,) = rows("cloudtrail", record(**changed))
    return row["entity"]


def test_a_file_a_record_and_an_envelope_are_the_same_row() -> None:
    envelope = {"detail-type": "AWS API Call via CloudTrail", "source": "aws.ec2", "time": "x", "detail": RECORD}
    found = rows("cloudtrail", {"Records": [RECORD]}, RECORD, envelope)
    assert [row.pop("offset") for row in found] == [0, 1, 2]
    assert found[0] == found[1] == found[2]
    assert found[0].pop("identity")
    assert found[0] == {
        "ts_ms": AT_MS,
        "entity": "demo/account/-/123456789012",
        "reason": "StartInstances",
        "type": "Normal",
        "message": f"ec2.amazonaws.com: StartInstances by {JO} from 203.0.113.9 in us-east-2",
        "count": 1,
        "uid": "e-1",
    }


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"readOnly": True}, "read-only call"),
        ({"readOnly": "true"}, "read-only call"),
        ({"managementEvent": False}, "data event"),
        ({"eventCategory": "Data"}, "data event"),
        ({"eventCategory": "NetworkActivity"}, "data event"),
    ],
)
def test_traffic_is_left_out_unless_it_failed(changed: dict[str, Any], reason: str) -> None:
    decoded = decode("cloudtrail", record(**changed))
    assert (decoded.rows.height, decoded.letters, decoded.dropped) == (0, [], {reason: 1})
    (row,) = rows("cloudtrail", record(**changed, errorCode="AccessDenied"))
    assert row["type"] == "Warning"
    assert "failed with AccessDenied" in row["message"]


@pytest.mark.parametrize(
    ("source", "said", "expected"),
    [
        ("ec2", {"instancesSet": {"items": [{"instanceId": "i-1"}, {"instanceId": "i-2"}]}}, "node/-/i-1"),
        ("autoscaling", {"instanceId": "i-1"}, "node/-/i-1"),
        ("rds", {"dBInstanceIdentifier": "orders"}, "database/-/orders"),
        ("rds", {"dBClusterIdentifier": "orders"}, "database/-/orders"),
        ("lambda", {"functionName": "resize"}, "service/default/resize"),
        ("lambda", {"functionName": "arn:aws:lambda:eu-west-1:1:function:resize"}, "service/default/resize"),
        ("ecs", {"service": "checkout", "cluster": "shop"}, "service/default/checkout"),
        ("ecs", {"cluster": "arn:aws:ecs:eu-west-1:1:cluster/shop"}, "service/default/shop"),
        ("eks", {"name": "prod-1"}, "service/default/prod-1"),
        ("sqs", {"queueUrl": "https://sqs.us-east-2.amazonaws.com/1/mails"}, "queue/-/mails"),
        ("s3", {"bucketName": "invoices"}, "database/-/invoices"),
        ("dynamodb", {"tableName": "carts"}, "database/-/carts"),
        ("elasticache", {"replicationGroupId": "sessions"}, "database/-/sessions"),
        ("autoscaling", {"autoScalingGroupName": "web"}, "service/default/web"),
        ("cloudformation", {"stackName": "network"}, "ci/-/network"),
        (
            "elasticloadbalancing",
            {"loadBalancerArn": "arn:aws:elasticloadbalancing:e:1:loadbalancer/app/front/5"},
            "service/default/front",
        ),
        ("iam", {"roleName": "admin"}, "account/-/123456789012"),
        ("kms", {"keyId": "arn:aws:kms:eu-west-1:1:key/2"}, "account/-/123456789012"),
        ("ec2", {"groupId": 7, "instanceId": ["i-1"]}, "account/-/123456789012"),
        ("ec2", "text", "account/-/123456789012"),
    ],
)
def test_a_call_is_about_what_its_parameters_name(source: str, said: Any, expected: str) -> None:
    assert entity(eventSource=f"{source}.amazonaws.com", requestParameters=said) == f"demo/{expected}"


def test_resources_speak_before_parameters_and_answers_after() -> None:
    queue = {"ARN": "arn:aws:sqs:eu-west-1:1:mails"}
    assert entity(resources=[queue], requestParameters={"tableName": "carts"}) == "demo/queue/-/mails"
    role = {"ARN": "arn:aws:iam::1:role/admin"}
    assert entity(resources=[role], requestParameters={"tableName": "carts"}) == "demo/database/-/carts"
    answer = {"service": {"serviceArn": "arn:aws:ecs:eu-west-1:1:service/shop/checkout"}}
    assert entity(responseElements=answer) == "demo/service/default/checkout"


def test_the_account_is_the_one_that_received_it() -> None:
    assert entity(recipientAccountId="210987654321") == "demo/account/-/210987654321"
    assert entity(userIdentity=None) == "demo/account/-/unattributed"


def test_a_session_is_told_by_its_role_and_a_service_by_itself() -> None:
    session = {"type": "AssumedRole", "arn": "arn:aws:sts::1:assumed-role/deployer/jo.doe@example.com"}
    session["sessionContext"] = {"sessionIssuer": {"arn": "arn:aws:iam::1:role/deployer"}}
    (row,) = rows("cloudtrail", record(userIdentity=session))
    assert "by arn:aws:iam::1:role/deployer from" in row["message"]
    assert "jo.doe" not in row["message"]
    invoked = {"type": "AWSService", "invokedBy": "autoscaling.amazonaws.com"}
    (row,) = rows("cloudtrail", record(userIdentity=invoked, sourceIPAddress="autoscaling.amazonaws.com"))
    assert "by autoscaling.amazonaws.com in us-east-2" in row["message"]


def test_a_failed_login_is_a_warning_and_a_good_one_is_not() -> None:
    said = {"eventName": "ConsoleLogin", "eventSource": "signin.amazonaws.com"}
    types = [
        rows("cloudtrail", record(**said, responseElements={"ConsoleLogin": how}))[0]["type"]
        for how in ("Failure", "Success")
    ]
    assert types == ["Warning", "Normal"]


def test_parameters_are_told_short_and_without_secrets() -> None:
    said = {"masterUserPassword": "Tr0ub4dor", "a": 1, "b": True, "c": {"deep": "value"}, "d": "x" * 500, "tokens": "t"}
    (row,) = rows("cloudtrail", record(requestParameters=said))
    assert f"with masterUserPassword=<scrubbed>, a=1, b=True, d={'x' * 120}, tokens=<scrubbed>" in row["message"]


def test_a_bad_record_does_not_take_the_others_with_it() -> None:
    bad = [{"eventVersion": "2.0"}, {"eventVersion": "1.08"}, 7, record(eventTime="noon"), record(eventName=None)]
    decoded = decode("cloudtrail", {"Records": [RECORD, *bad]})
    assert decoded.rows.height == 1
    assert sorted(reasons(decoded)) == [
        "Expected `object`, got `int`",
        "eventVersion is not 1.x",
        "no eventTime",
        "no reason",
        "time is missing, unreadable or outside 1980 to 2100",
    ]
    assert [one.part for one in decoded.letters] == [0, 1, 2, 3, 4]
    assert sum(one.rows for one in decoded.letters) == 5


@pytest.mark.parametrize("body", [b'{"Records":[]}', b"{}", b'{"a":1}', b"7", b"null"])
def test_what_holds_no_record_is_refused(body: bytes) -> None:
    decoded = decode("cloudtrail", body)
    assert (decoded.rows.height, len(decoded.letters)) == (0, 1)


def test_two_records_of_one_call_are_told_apart_by_their_id() -> None:
    found = rows("cloudtrail", {"Records": [RECORD, record(eventID="e-2"), record(eventID=None)]})
    assert len({row["identity"] for row in found}) == 3
    assert found[2]["identity"] == 0


def test_many_records_of_one_file() -> None:
    body = json.dumps({"Records": [record(eventID=f"e-{number}") for number in range(2_000)]}).encode()
    assert len({row["identity"] for row in rows("cloudtrail", body)}) == 2_000


def test_a_digest_beside_log_files_is_left_out() -> None:
    digest = {"awsAccountId": "1", "digestStartTime": "2026-08-22T10:00:00Z", "digestS3Bucket": "b", "logFiles": []}
    decoded = decode("cloudtrail", digest)
    assert (decoded.rows.height, decoded.letters, decoded.dropped) == (0, [], {"digest of log files": 1})
