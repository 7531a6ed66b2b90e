"""`bench ingest` decodes all that it generates, and says what is missing in words."""

import sys

import pytest

from benchmarks import ingest, ingest_data, ingest_plain
from engine.errors import SourceError


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"SERIES": 40, "SCRAPES": 3, "IN_REQUEST": 20, "LINES": 60, "PODS": 4, "OTLP_REQUESTS": 12}
    for name, size in sizes.items():
        monkeypatch.setattr(ingest_data, name, size)
    monkeypatch.setattr(ingest, "_ROUNDS", 1)


@pytest.mark.usefixtures("small")
def test_measures_every_format_beside_plain_loops() -> None:
    metrics = ingest.measured()["metrics"]
    assert {f"{name}_per_s" for name in ingest.FLOORS} <= set(metrics)
    assert {f"ratio_{loop}{name}" for name in ingest.FLOORS for loop in ("", "bare_")} <= set(metrics)
    assert all(value > 0 for value in metrics.values())


@pytest.mark.usefixtures("small")
def test_generates_the_same_telemetry_every_time() -> None:
    for name in ("adapter_json", "remote_write", "remote_write_v2", "fluentbit_json", "otlp_metrics"):
        assert getattr(ingest_data.Cluster(), name)() == getattr(ingest_data.Cluster(), name)()


@pytest.mark.usefixtures("small")
def test_the_plain_loop_makes_the_same_rows() -> None:
    sent = ingest_data.Cluster().remote_write()
    rows = (
        ingest.format_of("prometheus-remote-write", ingest.Identity("bench")).decode(sent.bodies, range(99), "x").rows
    )
    plain = ingest_plain.same_rows()["remote_write"](sent.bodies)
    assert rows.drop("offset").rows() == plain


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)
    with pytest.raises(SourceError, match="orjson is missing"):
        ingest_plain.bare()
