"""One tiny run over a real broker: what is generated goes through a worker as shipped, and not a row is lost."""

from __future__ import annotations

import os

import pytest

from benchmarks import throughput
from benchmarks.broker import BOOTSTRAP, broker
from engine.errors import SourceError

pytestmark = pytest.mark.kafka


def test_a_worker_and_the_floor_take_all_that_was_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"SERIES": "400", "WINDOWS": "3", "CASES": "main,floor", "PARTITIONS": "2"}
    for name, value in small.items():
        monkeypatch.setenv(f"OPSBRAIN_BENCH_{name}", value)
    try:
        with broker() as running:  # that of the environment, or one of our own
            monkeypatch.setenv(BOOTSTRAP, running.bootstrap)
            result = throughput.run(None)
    except SourceError as error:
        if "java" in str(error) or "mvn" in str(error):
            _unavailable(str(error))
        raise
    main, floor = result["cases"]
    assert main["rows"]["accepted"] == main["items"] == 400 * 3 * 4
    assert main["rows"]["late"] == main["rows"]["dead_lettered"] == 0
    assert floor["items"] == 400 * 3 * 4 + 2  # and the marks of two partitions' ends
    assert result["metrics"]["kafka_samples_per_core_s"] > 0
    assert result["data"]["switched_off"]


def _unavailable(reason: str) -> None:
    required = [part.strip() for part in os.environ.get("OPSBRAIN_REQUIRE", "").split(",")]
    if "kafka" in required:
        pytest.fail(f"OPSBRAIN_REQUIRE names kafka, but: {reason}", pytrace=False)
    pytest.skip(reason)
