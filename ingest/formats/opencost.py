"""OpenCost: one answer of `/allocation` (`/model/allocation`, `/allocation/compute`) a message; a row a day and entity.

amount     totalCost, in USD, which is what OpenCost prices in unless its `customPricing` says otherwise
when       days (UTC) by each allocation's `window`: hours are added up into their day, more days stay one period. Ask
           for whole days (`window=yesterday`, or `window=7d&step=1d`): what is told of a day later replaces what was
           told before, and a day that was not over when the answer came is dropped
whom       the pod, with its controller, labels and namespace; else the controller; else a label or the node; a
           namespace alone, and `__idle__`, `__unallocated__` and the like, are the account `cluster+name`
known at   a stamp `known_at` beside `data`, else when the message came in, else the period's end
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import msgspec
import polars as pl

from engine.ports import Decoded
from engine.schemas import Kind, conform
from ingest.cost_rows import DAY_MS, day_of, entity_of, no_amount, summed
from ingest.identity import Identity
from ingest.refused import Refused
from ingest.scrub import Scrubber
from ingest.times import OUTSIDE, Stamp, rfc3339_ms, stamps_ms

_KINDS: Final = {
    one.lower(): one for one in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Rollout")
}


class _Window(msgspec.Struct):
    start: str
    end: str


class _Properties(msgspec.Struct):
    cluster: str | None = None
    node: str | None = None
    namespace: str | None = None
    controller: str | None = None
    controllerKind: str | None = None
    pod: str | None = None
    services: list[str] | None = None
    labels: dict[str, str] | None = None


class _Allocation(msgspec.Struct):
    window: _Window
    totalCost: float | None = None
    name: str = ""
    properties: _Properties | None = None


class _Answer(msgspec.Struct):
    code: int
    data: list[dict[str, _Allocation] | None] | None = None
    message: str | None = None
    known_at: Stamp = None


@dataclass(frozen=True, slots=True)
class Opencost:
    """Decodes allocations of a cluster's cost."""

    name: ClassVar[str] = "opencost"
    kind: ClassVar[Kind] = "costs"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return a row a day and entity; dead letters for answers that are none and for allocations without a cost."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        answers, at = refused.decoded(_DECODER.decode)
        known_ms = _known_ms(answers, at, received_ms)
        rows: list[tuple[int, int | None, _Allocation, str]] = []
        for position, answer, known in zip(at, answers, known_ms, strict=True):
            if answer.code != 200:
                refused.add(position, f"the answer's code is {answer.code}, not 200")
                continue
            found = [(position, known, one, self._entity(one)) for one in _allocations(answer)]
            if not found:
                refused.add(position, "no allocations")
            rows += found
        usable = _usable(_frame(rows), refused)
        over = usable.filter(pl.col("period_end_ms") <= pl.col("ts_ms"))
        dropped = {"the day is not over yet": usable.height - over.height} if over.height < usable.height else {}
        frame = summed(over)
        costs = conform("costs", frame.with_columns(refused.offsets_of(frame["at"])))
        return Decoded(costs, refused.letters(), dropped)

    def _entity(self, one: _Allocation) -> str:
        said = one.properties or _Properties()
        named = ((said.cluster or ""), one.name)
        if one.name.startswith("__"):
            return self.identity.account("+".join(part for part in named if part))
        kind = _KINDS.get((said.controllerKind or "").lower(), said.controllerKind or "")
        owners = [(kind, said.controller)] if said.controller else []
        labels = said.labels or {}
        if said.pod:
            return self.identity.of_pod(said.pod, said.namespace or "", labels, owners)
        if said.controller:
            return self.identity.of_involved(kind or "Deployment", said.namespace or "", said.controller, labels)
        return entity_of(self.identity, _labels(said, labels), named)


def _labels(said: _Properties, labels: Mapping[str, str]) -> dict[str, str]:
    """Return what an allocation of no pod and no controller says of itself, as labels."""
    services = said.services or []
    own = {"namespace": said.namespace, "node": said.node, "service": services[0] if len(services) == 1 else None}
    return dict(labels) | {key: value for key, value in own.items() if value}


def _allocations(answer: _Answer) -> Iterator[_Allocation]:
    for step in answer.data or ():
        for name in sorted(step or {}):
            one = (step or {})[name]
            one.name = one.name or name
            yield one


def _known_ms(answers: Sequence[_Answer], at: Sequence[int], received_ms: Sequence[int]) -> list[int | None]:
    stamped = stamps_ms([one.known_at for one in answers]).to_list()
    came = [received_ms[position] if received_ms else 0 for position in at]
    return [stamp if stamp is not None else (ms or None) for stamp, ms in zip(stamped, came, strict=True)]


def _frame(rows: Sequence[tuple[int, int | None, _Allocation, str]]) -> pl.DataFrame:
    windows = [one.window for _, _, one, _ in rows]
    start = rfc3339_ms(pl.Series([one.start for one in windows], dtype=pl.String))
    end = rfc3339_ms(pl.Series([one.end for one in windows], dtype=pl.String))
    return pl.DataFrame(
        {
            "at": pl.Series([position for position, *_ in rows], dtype=pl.Int64),
            "ts_ms": pl.Series([known for _, known, *_ in rows], dtype=pl.Int64),
            "entity": pl.Series([entity for *_, entity in rows], dtype=pl.String),
            "start_ms": start,
            "end_ms": end,
            "amount_usd": pl.Series([one.totalCost for _, _, one, _ in rows], dtype=pl.Float64),
            "estimated": pl.repeat(False, len(rows), eager=True),
        }
    )


def _usable(frame: pl.DataFrame, refused: Refused) -> pl.DataFrame:
    """Return the allocations that can be read, with their periods in whole days; refuse the others."""
    frame = refused.rows(frame, no_amount(), "no totalCost")
    nowhen = (pl.col("start_ms") >= pl.col("end_ms")).fill_null(True)
    frame = refused.rows(frame, nowhen, f"window: {OUTSIDE}, or it ends before it starts")
    end = day_of(pl.col("end_ms") + DAY_MS - 1)
    frame = frame.with_columns(period_start_ms=day_of(pl.col("start_ms")), period_end_ms=end)
    return frame.with_columns(ts_ms=pl.col("ts_ms").fill_null(pl.col("period_end_ms")))


_DECODER: Final = msgspec.json.Decoder(_Answer)
