"""Costs of every kind: Cost Explorer, its anomalies, FOCUS and OpenCost; whose they are, of which day, and how much."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ports import Decoded
from ingest import checks
from ingest.cost_rows import entity_of
from ingest.identity import Identity
from ingest.registry import format_of
from ingest.times import OUTSIDE

GOLDEN = Path(__file__).parents[2] / "golden"
NAMES = ("aws-cost-explorer", "aws-cost-anomalies", "focus", "opencost")
SAMPLES = {
    name: [one.read_bytes() for one in sorted((GOLDEN / name).iterdir()) if one.suffix in (".json", ".bin")]
    for name in NAMES
}
DEMO = Identity("demo")
DAY_MS = 86_400_000
AUGUST_MS = 1_785_542_400_000  # 2026-08-01
EC2 = "Amazon_Elastic_Compute_Cloud"
HEAD = (
    "EffectiveCost,BilledCost,BillingAccountId,BillingCurrency,ChargeCategory,ChargeClass,ChargePeriodStart,"
    "ChargePeriodEnd,ServiceName,SubAccountId,Tags"
)


def decode(name: str, *bodies: bytes, came_ms: int = 0) -> Decoded:
    return format_of(name, DEMO).decode(bodies, range(len(bodies)), "in", [came_ms] * len(bodies))


def golden(name: str, file: str) -> bytes:
    return (GOLDEN / name / file).read_bytes()


def spent(decoded: Decoded) -> dict[tuple[str, int], float]:
    """Return amounts by entity, without its scope, and by day of August 2026, from 1."""
    rows = decoded.rows.iter_rows(named=True)
    return {
        (row["entity"].removeprefix("demo/"), (row["period_start_ms"] - AUGUST_MS) // DAY_MS + 1): row["amount_usd"]
        for row in rows
    }


def bill(*lines: str, head: str = HEAD) -> bytes:
    return "\n".join((head, *lines, "")).encode()


def line(
    cost: str = "1.5",
    start: str = "2026-08-01T00:00:00Z",
    end: str = "2026-08-02T00:00:00Z",
    category: str = "Usage",
    currency: str = "USD",
    billed: str = "9",
    kind: str = "",
    tags: str = "",
) -> str:
    quoted = '"' + tags.replace('"', '""') + '"'
    return f"{cost},{billed},1,{currency},{category},{kind},{start},{end},Amazon Thing,2,{quoted}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", checks.FORMAT_CHECKS, ids=lambda check: check.__name__)
def test_conforms(name: str, check: Callable[..., None]) -> None:
    check(lambda: format_of(name, DEMO), SAMPLES[name])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(data=st.data())
def test_spoiled_messages_are_rows_or_letters(name: str, data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from(SAMPLES[name])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        body = body or bytearray(b"x")
    decoded = decode(name, bytes(body), came_ms=AUGUST_MS + 30 * DAY_MS)
    assert decoded.rows.height or decoded.letters or decoded.dropped
    assert decoded.rows.schema == checks.SCHEMAS[format_of(name, DEMO).kind]


# --- Cost Explorer ---


def test_a_tag_that_names_an_entity_does_and_its_groups_add_up() -> None:
    decoded = decode("aws-cost-explorer", golden("aws-cost-explorer", "by-service-and-tag.json"))
    assert spent(decoded) == {
        ("service/default/store", 1): 0.30000000000000004,
        ("account/-/Amazon_Simple_Storage_Service", 1): 0.7,
    }


def test_groups_of_two_dimensions_and_totals() -> None:
    decoded = decode("aws-cost-explorer", golden("aws-cost-explorer", "by-account.json"))
    assert spent(decoded) == {("account/-/AWS_Lambda+222222222222", 1): 1e-7, ("account/-/total", 2): 0.0}
    assert decoded.rows["estimated"].to_list() == [False, True]


def groups(*amounts: tuple[str, str], day: str = "2026-08-01") -> dict[str, Any]:
    found = [
        {"Keys": [f"s{number}"], "Metrics": {"UnblendedCost": {"Amount": amount, "Unit": unit}}}
        for number, (amount, unit) in enumerate(amounts)
    ]
    return {"TimePeriod": {"Start": day, "End": f"{day[:-1]}{int(day[-1]) + 1}"}, "Groups": found}


def test_one_bad_group_does_not_take_the_others_along() -> None:
    days = [groups(("1.5", "USD"), ("NaN", "USD"), ("5", "EUR"), ("x", "USD")), groups(("2", "USD"), day="2026-08-02")]
    days += [groups(("3", "USD"), day="2026-18-02")]
    decoded = decode("aws-cost-explorer", json.dumps({"ResultsByTime": days}).encode(), came_ms=AUGUST_MS + 3 * DAY_MS)
    assert spent(decoded) == {("account/-/s0", 1): 1.5, ("account/-/s0", 2): 2.0}
    assert {letter.reason: letter.rows for letter in decoded.letters} == {
        "an amount is missing or not in USD": 1,
        "an amount is not a number": 2,
        OUTSIDE: 1,
    }


def test_a_stamp_that_is_no_time_refuses_every_group() -> None:
    answer = {"known_at": "soon", "ResultsByTime": [groups(("1", "USD"), ("2", "USD"))]}
    decoded = decode("aws-cost-explorer", json.dumps(answer).encode())
    assert decoded.rows.is_empty()
    assert [(letter.reason, letter.rows) for letter in decoded.letters] == [(OUTSIDE, 2)]


# --- anomalies ---


def test_an_anomaly_is_an_event_of_the_account_that_cost_explorer_names() -> None:
    rows = decode("aws-cost-anomalies", golden("aws-cost-anomalies", "answer.json")).rows.to_dicts()
    assert [row["entity"] for row in rows] == [
        "demo/account/-/Amazon_Relational_Database_Service",
        "demo/account/-/AWS_Lambda",
    ]
    assert [row["type"] for row in rows] == ["Warning", "Normal"]
    assert {row["reason"] for row in rows} == {"CostAnomaly"}
    assert rows[0]["message"].startswith(
        "cost anomaly 2026-08-02 to 2026-08-04; spent 360.75 USD, expected 50.25 USD, impact 310.50 USD, score 0.7; "
    )
    assert rows[0]["ts_ms"] == AUGUST_MS + 4 * DAY_MS + DAY_MS // 2


def test_an_anomaly_that_grew_is_another_event() -> None:
    body = golden("aws-cost-anomalies", "answer.json")
    grown = body.replace(b'310.5,\n          "TotalActual', b'320.5,\n          "TotalActual')
    assert grown != body
    first, again, third = (decode("aws-cost-anomalies", one).rows["identity"].to_list() for one in (body, body, grown))
    assert first == again
    assert first[0] != third[0]
    assert first[1] == third[1]


def test_one_bad_anomaly_does_not_take_the_others_along() -> None:
    decoded = decode("aws-cost-anomalies", b'{"Anomalies":[{"AnomalyId":1},{"AnomalyId":"a"}]}', came_ms=AUGUST_MS)
    assert decoded.rows.height == 1
    assert [letter.rows for letter in decoded.letters] == [1]


# --- FOCUS ---


@pytest.mark.parametrize("file", ["focus-1.2.csv.bin", "focus-1.2.csv.gz.bin", "focus-1.2.parquet.bin"])
def test_a_bill_says_the_same_as_csv_and_parquet(file: str) -> None:
    decoded = decode("focus", golden("focus", file), came_ms=AUGUST_MS + 3 * DAY_MS)
    assert not decoded.letters
    assert spent(decoded) == {
        ("service/default/store", 1): 0.6,  # 0.1 + 0.2 + 0.3, rounded once
        ("service/default/store", 2): 0.5,
        ("service/shop/payments", 1): 1.5,
        ("database/-/orders", 1): 12.25,
        (f"account/-/{EC2}+222222222222", 1): 3.75,
        (f"account/-/{EC2}+111111111111", 1): 0.25,
    }
    assert set(decoded.rows["ts_ms"]) == {AUGUST_MS + 3 * DAY_MS}


def test_the_order_of_lines_makes_no_difference() -> None:
    lines = [line(cost=f"{number / 7:.17g}") for number in range(1, 200)]
    shuffled = random.Random(5).sample(lines, len(lines))
    assert decode("focus", bill(*lines)).rows.equals(decode("focus", bill(*shuffled)).rows)


def test_what_nothing_that_runs_causes_is_dropped_and_counted() -> None:
    lines = [line(category=one) for one in ("Tax", "Credit", "Adjustment", "Purchase", "Usage")]
    decoded = decode("focus", bill(*lines, line(kind="Correction")))
    assert list(spent(decoded).values()) == [3.0]
    assert decoded.dropped == {
        "charge category Tax": 1,
        "charge category Credit": 1,
        "charge category Adjustment": 1,
        "correction of an earlier billing period": 1,
    }


def test_a_day_that_is_not_over_waits_for_a_later_file() -> None:
    hours = [line(start=f"2026-08-0{day}T05:00:00Z", end=f"2026-08-0{day}T06:00:00Z") for day in (1, 2)]
    decoded = decode("focus", bill(*hours), came_ms=AUGUST_MS + DAY_MS + 7 * 3_600_000)
    assert list(spent(decoded)) == [("account/-/Amazon_Thing+2", 1)]
    assert decoded.dropped == {"the day is not over yet": 1}


def test_a_charge_of_a_month_is_spread_over_its_days() -> None:
    decoded = decode("focus", bill(line(cost="31", end="2026-09-01T00:00:00Z")), came_ms=AUGUST_MS + 3 * DAY_MS)
    assert spent(decoded) == {("account/-/Amazon_Thing+2", day): 1.0 for day in (1, 2, 3)}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (line(currency="EUR"), "BillingCurrency is not USD"),
        (line(currency=""), "BillingCurrency is not USD"),
        (line(cost="", billed=""), "missing or not an amount"),
        (line(cost="much"), "missing or not an amount"),
        (line(cost="inf"), "missing or not an amount"),
        (line(cost="1e300"), "missing or not an amount"),
        (line(start="soon"), "outside 1980 to 2100"),
        (line(start="2026-08-03T00:00:00Z"), "ends before it starts"),
        (line(end="2028-08-03T00:00:00Z"), "longer than 366 days"),
    ],
)
def test_a_bad_line_is_refused_by_itself(bad: str, reason: str) -> None:
    decoded = decode("focus", bill(line(), bad, line()))
    assert list(spent(decoded).values()) == [3.0]
    [letter] = decoded.letters
    assert reason in letter.reason
    assert letter.rows == 1


def test_billed_cost_stands_in_for_an_effective_cost_that_is_not_there() -> None:
    assert list(spent(decode("focus", bill(line(cost="")))).values()) == [9.0]
    assert list(spent(decode("focus", bill(line()).replace(b"EffectiveCost", b"x_Cost"))).values()) == [9.0]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-08-01 00:00:00", "2026-08-02 00:00:00"),
        ("2026-08-01 00:00:00 UTC", "2026-08-02 00:00:00 UTC"),
        ("2026-08-01T02:00:00+02:00", "2026-08-02T02:00:00+02:00"),
        ("2026-08-01T00:00:00.000Z", "2026-08-01T23:59:59Z"),
    ],
)
def test_times_as_bills_write_them(start: str, end: str) -> None:
    assert list(spent(decode("focus", bill(line(start=start, end=end))))) == [("account/-/Amazon_Thing+2", 1)]


def test_a_file_that_is_none_says_which_columns_are_missing() -> None:
    head = HEAD.replace("BillingCurrency", "Currency").replace("EffectiveCost,BilledCost", "Cost,Costs")
    [letter] = decode("focus", bill(line(), head=head)).letters
    assert letter.reason == "no FOCUS columns BillingCurrency, EffectiveCost or BilledCost"


def test_what_is_in_no_file_but_claims_to_be() -> None:
    cut = gzip.compress(b"x" * 10_000)[:-9]
    bodies = [cut, b"PAR1 and no more PAR1", bill("1,2,3,4,5,6,7,8,9,10,11,12"), b"\xff\xfe", b"PAR1", bill()]
    reasons = [letter.reason for letter in decode("focus", *bodies).letters]
    assert len(reasons) == 6
    assert reasons[0] == "gzip is cut off"
    assert reasons[-1] == "no lines"


def test_tags_that_are_no_json_name_nobody() -> None:
    for tags in ("{", "[]", '{"app":1}', '{"app":""}', "null"):
        assert list(spent(decode("focus", bill(line(tags=tags))))) == [("account/-/Amazon_Thing+2", 1)]


# --- OpenCost ---


def test_pods_of_one_workload_add_up_and_what_is_nobodys_is_the_accounts() -> None:
    decoded = decode("opencost", golden("opencost", "by-pod.json"))
    assert spent(decoded) == {("service/shop/store", 1): 3.3000000000000003, ("account/-/cluster-one+__idle__", 1): 5.5}
    assert set(decoded.rows["period_end_ms"]) == {AUGUST_MS + DAY_MS}


def test_hours_add_up_to_their_day() -> None:
    decoded = decode("opencost", golden("opencost", "by-namespace-hourly.json"), came_ms=AUGUST_MS + 2 * DAY_MS)
    assert spent(decoded) == {
        ("account/-/cluster-one+shop", 1): 0.30000000000000004,
        ("account/-/cluster-one+__unallocated__", 1): 0.3,
    }
    assert set(decoded.rows["ts_ms"]) == {AUGUST_MS + 2 * DAY_MS}


def test_an_allocation_of_a_day_that_is_not_over_waits() -> None:
    decoded = decode("opencost", golden("opencost", "by-pod.json"), came_ms=AUGUST_MS + DAY_MS // 2)
    assert decoded.rows.is_empty()
    assert decoded.dropped == {"the day is not over yet": 3}


@pytest.mark.parametrize(
    ("properties", "entity"),
    [
        ({"controller": "store", "controllerKind": "deployment", "namespace": "shop"}, "service/shop/store"),
        ({"controller": "store-77tk444p6s", "controllerKind": "replicaset", "namespace": "shop"}, "service/shop/store"),
        ({"pod": "store-77tk444p6s-2jpfw", "namespace": "shop"}, "service/shop/store"),
        ({"labels": {"app": "store"}, "namespace": "shop"}, "service/shop/store"),
        ({"services": ["store"], "namespace": "shop"}, "service/shop/store"),
        ({"node": "n1"}, "node/-/n1"),
        ({"namespace": "shop"}, "account/-/x"),
        ({}, "account/-/x"),
        (None, "account/-/x"),
    ],
)
def test_whose_an_allocation_is(properties: Any, entity: str) -> None:
    window = {"start": "2026-08-01T00:00:00Z", "end": "2026-08-02T00:00:00Z"}
    one = {"name": "x", "properties": properties, "window": window, "totalCost": 1}
    decoded = decode("opencost", json.dumps({"code": 200, "data": [{"x": one}]}).encode())
    assert list(spent(decoded)) == [(entity, 1)]


def test_answers_that_are_none() -> None:
    bodies = [b'{"code":500,"message":"no data"}', b'{"code":200,"data":null}', b'{"code":200,"data":[{}]}', b"{}"]
    assert len(decode("opencost", *bodies).letters) == 4


# --- whose ---


@pytest.mark.parametrize(
    ("tags", "arn", "entity"),
    [
        ({"app": "store"}, "", "service/default/store"),
        ({"user:App": "store"}, "", "service/default/store"),
        ({"app.kubernetes.io/name": "store", "Namespace": "shop"}, "", "service/shop/store"),
        ({"aws:eks:namespace": "shop", "aws:eks:workload-name": "store"}, "", "service/shop/store"),
        ({"app": "store"}, "arn:aws:sqs:eu-west-1:222222222222:orders", "queue/-/orders"),
        ({"app": "store"}, "arn:aws:lambda:eu-west-1:222222222222:function:resize", "service/default/store"),
        ({}, "arn:aws:lambda:eu-west-1:222222222222:function:resize", "service/default/resize"),
        ({}, "arn:aws:iam::222222222222:role/x", "account/-/AWS_X+2"),
        ({"team": "a"}, "i-0123456789abcdef0", "account/-/AWS_X+2"),
    ],
)
def test_whose_a_cost_is(tags: dict[str, str], arn: str, entity: str) -> None:
    assert entity_of(DEMO, tags, ("AWS X", "2"), arn) == f"demo/{entity}"


def test_an_override_may_say_whose_a_tag_is() -> None:
    identity = Identity("demo", overrides={"team=a": "demo/service/shop/store"})
    assert entity_of(identity, {"team": "a"}, ("AWS X",)) == "demo/service/shop/store"


def test_frames_of_many_messages_keep_their_order() -> None:
    frame = decode("focus", *SAMPLES["focus"], b"", *SAMPLES["focus"]).rows
    assert frame["offset"].is_sorted()
    assert frame["offset"].n_unique() == 6
    assert isinstance(frame, pl.DataFrame)
