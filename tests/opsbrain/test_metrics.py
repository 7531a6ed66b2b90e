"""/metrics: every component reports the same four things, under names that do not change, with labels that are few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from engine.flow import FLOW
from engine.ports import Decoded
from engine.runners.kafka.accounts import DecodeAccounts
from engine.runners.kafka.config import KafkaConfig, Telemetry
from engine.runners.kafka.decoder import Decoder, Input
from engine.runners.kafka.stateful import Stateful
from engine.runners.kafka.waiting import Stopping
from engine.runners.meters import Component, Meters
from engine.schemas import conform, empty
from engine.types import DeadLetter
from engine.window import WindowConfig
from opsbrain.kafka_notify import NotifyRole
from opsbrain.metrics import Exposition
from opsbrain.notify.delivery import Delivery
from opsbrain.notify.meters import NotifyMeters
from opsbrain.notify.outbox import Entry, Outbox
from opsbrain.settings import Settings
from opsbrain.tally import RECEIVE, Tally
from opsbrain.wiring import engine_config
from tests.opsbrain.scrapes import FOUR, Scrape, check_four

WINDOW = WindowConfig(resolution_ms=1_000, lateness_ms=500, shards=4)
CONFIG = KafkaConfig("127.0.0.1:1", (), ("demo",))


def scrape(meters: Meters) -> Scrape:
    return Scrape.of(Exposition(meters).text().decode())


def worker_meters() -> Meters:
    """Return the meters of a worker whose roles are built and have done nothing."""
    meters = Meters()
    DecodeAccounts(meters)
    Stateful(engine_config(Settings()), CONFIG, Stopping(), meters)
    NotifyRole(Settings(), CONFIG, meters)
    return meters


def test_every_component_of_a_worker_reports_the_same_four_things() -> None:
    read = scrape(worker_meters())
    check_four(read)
    assert read.components(FOUR[0]) == {"decode", "notify", *(one.step for one in FLOW)}
    assert all(value == 0 for name in FOUR for value in read.samples[name].values())


def test_receivers_report_the_same_four_things() -> None:
    meters, tally = Meters(), Tally()
    meters.reading(RECEIVE, tally.component)
    check_four(scrape(meters))
    for outcome in ("kept", "kept", "413", "429", "503"):
        tally.add("fluentbit", outcome, 10)
    read = scrape(meters)
    check_four(read)
    assert read.value("opsbrain_received_total", component="receive", of="fluentbit") == 5
    assert read.value("opsbrain_sent_total", component="receive", of="fluentbit") == 2
    dropped = {dict(labels)["reason"]: n for labels, n in read.samples["opsbrain_dropped_total"].items()}
    assert dropped == {"413": 1, "429": 1, "503": 1}
    assert read.value("opsbrain_errors_total", component="receive", kind="full") == 1
    assert read.value("opsbrain_errors_total", component="receive", kind="unavailable") == 1


def test_the_check_refuses_a_component_that_keeps_something_to_itself() -> None:
    whole = Exposition(worker_meters()).text().decode()
    part = "\n".join(
        line for line in whole.splitlines() if not line.startswith('opsbrain_errors_total{component="fit"')
    )
    with pytest.raises(AssertionError, match="fit"):
        check_four(Scrape.of(part + "\n"))


class Rows:
    """Bodies are `time name`; `drop` is left out, anything else is a dead letter."""

    name, kind = "rows", "logs"

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        rows, dead, dropped = [], [], Counter[str]()
        for offset, body in zip(offsets, bodies, strict=True):
            time, _, name = body.decode().partition(" ")
            if name == "drop":
                dropped["stale marker"] += 1
            elif time.isdigit():
                row = {"ts_ms": int(time), "offset": offset, "entity": f"x/service/-/{name}"}
                rows.append(row | {"severity": "info", "body": "b", "signature": "s"})
            else:
                dead.append(DeadLetter(input, offset, "no number", body.decode()))
        schema = {"ts_ms": pl.Int64, "offset": pl.Int64, "entity": pl.String}
        frame = conform("logs", pl.DataFrame(rows, schema_overrides=schema)) if rows else empty("logs")
        return Decoded(frame, dead, dropped)


def taken(decoder: Decoder, partition: int, bodies: Sequence[bytes]) -> Input:
    input = decoder.start("telemetry.logs", partition, Telemetry("telemetry.logs", Rows()), None)
    decoder.take(input, range(len(bodies)), bodies, ended=False)
    return input


BODIES = (b"1000 a", b"9000 a", b"20000 a", b"100 late", b"21000 drop", b"nonsense")


def test_rows_add_up_and_no_count_falls_when_an_input_goes_to_another_worker() -> None:
    meters = Meters()
    decoder, accounts = (
        Decoder(WINDOW, meters),
        DecodeAccounts(meters),
    )
    accounts.follow(taken(decoder, 0, BODIES))
    first = scrape(meters)
    dropped = {dict(labels)["reason"]: n for labels, n in first.samples["opsbrain_dropped_total"].items()}
    assert dropped == {"late": 1, "duplicate": 0, "dead_letter": 1, "label_cardinality": 0, "stale_marker": 1}
    assert first.value("opsbrain_received_total", component="decode", of="telemetry.logs/0") == len(BODIES)
    assert set(first.samples["opsbrain_stage_seconds_total"]) == {(("stage", "decode"),), (("stage", "window"),)}
    accounts.leave(("telemetry.logs", 0))
    assert scrape(meters).samples["opsbrain_received_total"] == first.samples["opsbrain_received_total"]
    accounts.follow(taken(decoder, 0, BODIES))  # and comes back, from its beginning
    again = scrape(meters)
    assert again.value("opsbrain_received_total", component="decode", of="telemetry.logs/0") == 2 * len(BODIES)
    assert again.value("opsbrain_dropped_total", component="decode", reason="late") == 2


def test_what_came_in_never_becomes_a_label() -> None:
    meters = Meters()
    accounts, decoder = DecodeAccounts(meters), Decoder(WINDOW)
    input = taken(decoder, 0, BODIES)
    for number in range(1_000):
        input.step.dropped[f"label cardinality of requests_{number}"] += 2
        input.step.dropped[f"made of {number}"] += 1
    accounts.follow(input)
    read = scrape(meters)
    reasons = {dict(labels)["reason"]: n for labels, n in read.samples["opsbrain_dropped_total"].items()}
    assert reasons["label_cardinality"] == 2_000
    assert len(reasons) < 60 and reasons["other"] > 900


def test_watermarks_of_inputs_that_ended_or_have_none_are_not_late() -> None:
    accounts = DecodeAccounts(Meters())
    decoder = Decoder(WINDOW)
    live, ended = taken(decoder, 0, BODIES), taken(decoder, 1, BODIES)
    decoder.take(ended, [], [], ended=True)
    for one in (live, ended, taken(decoder, 2, ())):
        accounts.follow(one)
    assert accounts.watermark_delays_s(lambda: 60.0) == {("telemetry.logs/0",): 60.0 - 19.0}


def test_ages_count_from_the_last_checkpoint_and_no_registry_is_global() -> None:
    now_s = [100.0]
    meters, other = Meters(lambda: now_s[0]), Meters()
    meters.checkpointed("steps")
    now_s[0] += 42
    meters.set("opsbrain_paused", 1)
    read = scrape(meters)
    assert read.value("opsbrain_checkpoint_age_seconds", role="steps") == 42
    assert read.value("opsbrain_paused") == 1
    assert "opsbrain_checkpoint_age_seconds" not in scrape(other).samples
    assert read.value("process_resident_memory_bytes") > 1e6


def test_deliveries_are_counted_by_how_they_end(tmp_path: Path) -> None:
    meters = Meters()
    told, outbox = NotifyMeters(meters, ["on-call"]), Outbox(tmp_path / "outbox.sqlite")
    delivery = Delivery("1", "on-call", "inc-1", "opened", b"{}", 0)
    outbox.enqueue(delivery, 0)
    told.received(3)
    for state in ("delivered", "failed", "pending", "pending"):
        told.attempted(Entry(delivery, state, 1, 0, 0, None, ""))
    told.round(outbox)
    outbox.close()
    read = scrape(meters)
    assert read.value("opsbrain_received_total", component="notify", of="incidents") == 3
    assert read.value("opsbrain_sent_total", component="notify", of="on-call") == 1
    assert read.value("opsbrain_dropped_total", component="notify", reason="failed") == 1
    assert read.value("opsbrain_errors_total", component="notify", kind="retry") == 2
    assert read.value("opsbrain_outbox_pending") == 1


def test_a_count_may_grow_while_it_is_read() -> None:
    meters = Meters()
    meters.reading("decode", lambda: Component(received=Counter({"a": 1})))
    one = meters.component("detect", dropped=("repeat",))
    one.received["features"] += 2
    one.received["fits"] += 0
    read = scrape(meters)
    assert read.value("opsbrain_received_total", component="detect", of="features") == 2
    assert read.value("opsbrain_received_total", component="detect", of="fits") == 0
    assert read.value("opsbrain_dropped_total", component="detect", reason="repeat") == 0
