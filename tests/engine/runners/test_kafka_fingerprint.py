"""State and offsets say what they depend on, and a mismatch says what changed and what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.errors import StateMismatch
from engine.flow import EngineConfig
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.fingerprint import PROGRAM, check_reads, check_state, fingerprint, reads_for
from opsbrain.settings_load import load_settings
from opsbrain.wiring import engine_config

KAFKA = KafkaConfig("127.0.0.1:9092", (), ("x",))


def engine(*flags: str) -> EngineConfig:
    return engine_config(load_settings(None, {}, flags))


def test_the_same_settings_give_the_same_fingerprint() -> None:
    assert fingerprint(engine()) == fingerprint(engine())
    assert "0x" not in str(fingerprint(engine()))  # no address of an object


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("pipeline.resolution_s=30", "pipeline.resolution_s was '60' and is '30'"),
        ("pipeline.shards=32", "pipeline.shards was '64' and is '32'"),
        ("pipeline.fit_every_s=7200", "pipeline.fit_every_s was '3600' and is '7200'"),
        ("detectors.options={zscore={clip=4}}", "detectors was 'ZScore("),
    ],
)
def test_a_mismatch_names_what_changed_and_what_to_do(flag: str, said: str) -> None:
    saved = fingerprint(engine())
    with pytest.raises(StateMismatch) as told:
        check_state(saved, fingerprint(engine(flag)), "the snapshot of 'detect' on partition 3")
    line = str(told.value)
    assert "\n" not in line
    assert line.startswith(f"kafka: the snapshot of 'detect' on partition 3 was written by {saved[PROGRAM]} with")
    assert said in line
    assert "kafka.topic_prefix" in line and "kafka.group_prefix" in line


@pytest.mark.parametrize("flag", ["notify.give_up_after_s=60", "kafka.checkpoint_every_s=9", "http.port=1"])
def test_what_state_does_not_depend_on_may_change(flag: str) -> None:
    check_state(fingerprint(engine()), fingerprint(engine(flag)), "x")


def test_another_version_of_the_program_alone_changes_nothing() -> None:
    check_state({**fingerprint(engine()), PROGRAM: "opsbrain 0.0.1"}, fingerprint(engine()), "x")


def test_what_an_older_program_did_not_write_down_is_no_mismatch() -> None:
    check_state({}, fingerprint(engine()), "x")
    check_reads({}, reads_for(KAFKA, engine().window), "opsbrain-decode")


def test_offsets_are_about_the_topics_that_was_read_for() -> None:
    window = engine().window
    saved = reads_for(KAFKA, window)
    check_reads(saved, reads_for(KAFKA, window), "opsbrain-decode")
    with pytest.raises(
        StateMismatch, match=r"group opsbrain-decode .* kafka\.topic_prefix was 'opsbrain\.' and is 'b'"
    ):
        check_reads(saved, reads_for(replace(KAFKA, topic_prefix="b"), window), "opsbrain-decode")
