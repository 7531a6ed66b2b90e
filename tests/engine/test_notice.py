"""The notice that goes with a revision: one message is all it takes to tell people, and it is always the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl
import pytest

from engine.flow import EngineConfig
from engine.messages import FIXES, INCIDENTS, Message
from engine.notice import Face, Notice, face_of, notice_among
from engine.runners.embedded import replay
from engine.store import MemoryStore
from engine.types import Fix, Incident, Kind, Phase, Ranking, Risk, Severity
from engine.values import to_json
from tests.engine.parts import MINUTE_MS, Frames, config, telemetry
from tests.opsbrain import samples


@dataclass(frozen=True)
class Restarts:
    """Proposes to restart whoever is affected; with every revision the title of the first says more."""

    def propose(self, incident, ranking, inventory, now_ms) -> list[Fix]:
        return [
            Fix(
                f"fix-{incident.id}-{entity}",
                0,
                incident.id,
                "restart",
                entity,
                f"restart, {len(incident.entities)} are affected" if entity == incident.entities[0] else "restart",
                "",
                (),
                (),
                Risk.SAFE,
                (),
                now_ms + 10**9,
                (),
            )
            for entity in incident.entities
        ]


def proposing() -> EngineConfig:
    engine = config()
    return replace(engine, scope=replace(engine.scope, proposer=Restarts()))


def passing() -> dict[str, tuple[Kind, pl.DataFrame]]:
    """Return telemetry of a fault that spreads to more services and passes."""
    data = telemetry(minutes=55)
    minute, entity = pl.col("ts_ms") // MINUTE_MS, pl.col("entity")
    over = (entity == "x/service/-/s3") & (minute >= 38)
    spread = (entity == "x/service/-/s2") & minute.is_between(33, 38)
    change = pl.when(over).then(-30.0).when(spread).then(30.0).otherwise(0.0)
    value = pl.when(pl.col("indicator") == "cpu").then(pl.col("value") + change).otherwise(pl.col("value"))
    kind, metrics = data["metrics"]
    return data | {"metrics": (kind, metrics.with_columns(value))}


def said(crashes: list[int]) -> list[Message]:
    out: list[Message] = []
    store = MemoryStore()
    for stop_after in [*crashes, None]:
        replay(proposing(), Frames(passing()), out.append, store=store, checkpoint_every=4, stop_after=stop_after)
    return out


@pytest.mark.parametrize("crashes", [[], [10, 11, 40]])
def test_the_notice_of_a_revision_is_what_all_messages_together_say(crashes: list[int]) -> None:
    messages = said(crashes)
    incidents = [m.payload for m in messages if isinstance(m.payload, Incident)]
    fixes = [m.payload for m in messages if m.stream == FIXES and isinstance(m.payload, Fix)]
    notices = {m.key: m.notice for m in messages if m.stream == INCIDENTS}
    assert len(notices) > 2 and any(one and one.before for one in notices.values())
    assert {one.phase for one in incidents} == {Phase.OPEN, Phase.RESOLVED}
    for incident in incidents:
        expected = notice_among(incident, incidents, fixes)
        assert expected.fixes
        assert notices[f"{incident.id}/{incident.revision}"] == expected


def test_a_repeat_has_the_same_notice() -> None:
    told: dict[str, bytes] = {}
    for message in said([10, 11, 40]):
        if message.stream == INCIDENTS:
            assert told.setdefault(message.key, to_json(message.notice)) == to_json(message.notice)


def test_a_fix_is_told_as_it_was_at_the_revision() -> None:
    fixes = [samples.fix(2), samples.fix(1), replace(samples.fix(1), incident_id="other")]
    for revision in (1, 2, 3):
        (fix,) = notice_among(samples.incident(revision), [], fixes).fixes
        assert fix.revision == min(revision, 2)


def test_the_face_is_the_cause_or_the_first_entity() -> None:
    assert face_of(samples.incident()) == Face(Severity.CRITICAL, samples.PAYMENTS)
    bare = samples.incident(ranking=Ranking((), "none stands out"))
    assert face_of(bare).suspect == bare.entities[0]
    assert notice_among(samples.incident(2), [samples.incident(1)], []) == Notice((), face_of(samples.incident(1)))
