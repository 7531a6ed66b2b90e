"""Prometheus' matrices: rows in the order of time, each series the same as by remote-write or the adapter."""

import json
import math

from ingest.formats.prometheus_adapter import PrometheusAdapter
from ingest.formats.prometheus_query_range import PrometheusQueryRange
from ingest.identity import Identity

DEMO = Identity("demo")
UP = {"__name__": "up", "job": "store", "namespace": "shop", "pod": "store-77tk444p6s-2jpfw"}
LOAD = {"__name__": "node_load1", "instance": "n1:9100"}


def matrix(*series: dict) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": list(series)}}).encode()


def decode(*bodies: bytes):
    return PrometheusQueryRange(DEMO).decode(bodies, range(len(bodies)), "in")


def test_rows_go_by_time() -> None:
    body = matrix(
        {"metric": UP, "values": [[1755856740, "1"], [1755856800.5, "0"]]},
        {"metric": LOAD, "values": [[1755856740, "0.25"], [1755856800.5, "+Inf"]]},
    )
    rows = decode(body).rows
    assert rows["ts_ms"].to_list() == [1755856740000, 1755856740000, 1755856800500, 1755856800500]
    assert rows["entity"].to_list() == ["demo/service/shop/store", "demo/node/-/n1"] * 2
    assert rows["value"].to_list()[:3] == [1.0, 0.25, 0.0]
    assert math.isnan(rows["value"][3])


def test_a_series_is_the_one_that_others_send() -> None:
    sample = {"timestamp": "2025-08-22T09:59:00Z", "value": "1", "name": "up", "labels": UP}
    other = PrometheusAdapter(DEMO).decode([json.dumps(sample).encode()], [0], "in").rows
    assert decode(matrix({"metric": UP, "values": [[1755856740, "1"]]})).rows.equals(other)


def test_what_is_wrong_is_refused_alone() -> None:
    decoded = decode(
        matrix(
            {"metric": {"job": "x"}, "values": [[1755856740, "1"], [1755856800, "1"]]},
            {"metric": UP, "values": [[1755856740, "one"], [1, "1"], [1755856800, "1"]]},
            {"metric": LOAD, "histograms": [[1755856740, {}]]},
        ),
        b'{"status":"success","data":{"resultType":"vector","result":[]}}',
        b'{"status":"error"}',
    )
    assert decoded.rows.height == 1
    assert decoded.dropped == {"native histogram": 1}
    assert sum(letter.rows for letter in decoded.letters) == 2 + 1 + 1 + 1 + 1
