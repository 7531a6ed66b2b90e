"""A short `bench chaos`: a worker and the broker are killed among poison, and nothing is lost, repeated or changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import chaos
from tests.conftest import refusal, require


@pytest.mark.skipif("OPSBRAIN_TEST_CHAOS" not in os.environ, reason="takes minutes; OPSBRAIN_TEST_CHAOS=1 runs it")
def test_three_rounds_of_chaos_change_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if (why := refusal("deploy/kafka/run.sh", "check")) is not None:
        require("kafka", why)  # it kills its broker, so it needs one of its own
    monkeypatch.setenv("OPSBRAIN_CHAOS_SEED", "11")
    monkeypatch.setenv("OPSBRAIN_CHAOS_ROUNDS", "3")
    monkeypatch.setenv("OPSBRAIN_CHAOS_FAULTS", "worker killed,broker killed,poison")
    monkeypatch.setenv("OPSBRAIN_CHAOS_WINDOWS_PER_S", "2")
    monkeypatch.setenv("OPSBRAIN_CHAOS_KEEP", str(tmp_path))
    result = chaos.run()
    metrics, differences = result["metrics"], result["cases"][3:]
    assert differences == []
    assert (metrics["lost"], metrics["repeated"], metrics["changed"]) == (0, 0, 0)
    assert (metrics["ended_by_themselves"], metrics["slow_stops"], metrics["tracebacks"]) == (0, 0, 0)
    assert metrics["faults"] == {"broker_killed": 1, "poison": 1, "worker_killed": 1}
    assert metrics["found"]["notifications"] == metrics["found"]["incidents"] >= 1
    assert metrics["poisonous"] > 0
