"""What a worker counts of itself, without anybody who serves it."""

from __future__ import annotations

import threading

import pytest

from engine.runners.kafka.accounts import reason_of
from engine.runners.meters import Meters


def test_a_component_is_there_from_its_first_mention_and_keeps_what_it_counted() -> None:
    meters = Meters()
    one = meters.component("detect", dropped=("repeat",), errors=("undelivered",))
    assert one.dropped == {"repeat": 0} and one.errors == {"undelivered": 0} and not one.received
    one.dropped["repeat"] += 3
    assert meters.component("detect", dropped=("repeat",)) is one and one.dropped["repeat"] == 3


def test_two_threads_in_stages_of_one_name_lose_no_time() -> None:
    meters = Meters()

    def work() -> None:
        for _ in range(200):
            with meters.stage("encode"):
                sum(range(200))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert meters.stage_s["encode"] > 0


def test_a_stage_that_fails_is_counted_and_still_fails() -> None:
    meters = Meters()
    with pytest.raises(ValueError, match="no"), meters.stage("decode"):
        raise ValueError("no")
    assert "decode" in meters.stage_s


def test_a_role_waits_until_it_is_ready() -> None:
    meters = Meters()
    meters.wait("steps", "restoring")
    assert meters.waiting == {"steps": "restoring"}
    meters.ready("steps")
    meters.ready("steps")
    assert meters.waiting == {}


@pytest.mark.parametrize(
    ("text", "label"),
    [("stale marker", "stale_marker"), ("label cardinality of hits{a='b'}", "label_cardinality"), ("late", "late")],
)
def test_reasons_become_labels(text: str, label: str) -> None:
    assert reason_of(text) == label
