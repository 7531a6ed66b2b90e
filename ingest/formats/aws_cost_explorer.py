"""AWS Cost Explorer: one `GetCostAndUsage` answer a message, as JSON; a row a period and entity.

Groups by TAG or COST_CATEGORY have keys `name$value`: where they name an entity as labels would (`app$store`), the
amount is that entity's; else it is the account's that the group's keys name, as `Amazon EC2+123456789012`. Several
groups of one entity are added up, so whoever asks joins the pages of an answer into one message (our puller does).

The answer does not say when it was given, and a cost row's time is when the amount became known. Whoever asks stamps
it: `{"known_at": RFC 3339 or seconds, "response": {...}}`, or a field `known_at` beside `ResultsByTime`. Else it is
when the message came in, and where nobody knows that, the period's end. Estimated amounts are revised later: the same
period again, with another amount.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import msgspec
import polars as pl

from engine.ports import Decoded
from engine.schemas import Kind, conform
from ingest.cost_rows import entity_of, no_amount, summed
from ingest.identity import Identity
from ingest.refused import Refused
from ingest.scrub import Scrubber
from ingest.times import OUTSIDE, Stamp, rfc3339_ms, stamps_ms

METRICS: Final = ("UnblendedCost", "AmortizedCost", "NetUnblendedCost", "NetAmortizedCost", "BlendedCost")
"""The amounts an answer may hold; the first of these that it does is taken."""


class _Amount(msgspec.Struct):
    Amount: str
    Unit: str = "USD"


class _Period(msgspec.Struct):
    Start: str
    End: str


class _Group(msgspec.Struct):
    Keys: list[str]
    Metrics: dict[str, _Amount]


class _Result(msgspec.Struct):
    TimePeriod: _Period
    Total: dict[str, _Amount] = {}
    Groups: list[_Group] = []
    Estimated: bool = False


class _Answer(msgspec.Struct):
    ResultsByTime: list[_Result] | None = None
    known_at: Stamp = None
    response: _Answer | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    at: int
    keys: Sequence[str]
    start: str
    end: str
    known_at: Stamp
    amount: _Amount | None
    estimated: bool


@dataclass(frozen=True, slots=True)
class AwsCostExplorer:
    """Decodes costs. An answer that bears no stamp became known when it came in."""

    name: ClassVar[str] = "aws-cost-explorer"
    kind: ClassVar[Kind] = "costs"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return a row a period and entity; dead letters for answers that are none and groups without an amount."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        answers, at = refused.decoded(_DECODER.decode)
        rows = []
        for position, answer in zip(at, answers, strict=True):
            came = received_ms[position] / 1000 if received_ms and received_ms[position] else None
            found = list(_rows(position, answer, came))
            if not found:
                refused.add(position, "no ResultsByTime with amounts")
            rows += found
        frame = self._frame(rows)
        frame = refused.rows(frame, pl.col("unit") != "USD", "an amount is missing or not in USD")
        frame = refused.rows(frame, no_amount(), "an amount is not a number")
        bounds = pl.col("period_start_ms") >= pl.col("period_end_ms")
        frame = refused.rows(frame, bounds | pl.col("ts_ms").is_null(), OUTSIDE)
        frame = summed(frame)
        frame = frame.with_columns(refused.offsets_of(frame["at"]))
        return Decoded(conform("costs", frame), refused.letters())

    def _frame(self, rows: Sequence[_Row]) -> pl.DataFrame:
        end_ms = _day_ms([row.end for row in rows])
        known_ms = stamps_ms([row.known_at for row in rows])
        stamped = pl.Series([row.known_at is not None for row in rows], dtype=pl.Boolean)
        amounts = pl.Series([row.amount.Amount if row.amount else None for row in rows], dtype=pl.String)
        entities = [self._entity(row.keys) for row in rows]
        return pl.DataFrame(
            {
                "at": pl.Series([row.at for row in rows], dtype=pl.Int64),
                "ts_ms": known_ms.zip_with(stamped, end_ms),
                "entity": pl.Series(entities, dtype=pl.String),
                "period_start_ms": _day_ms([row.start for row in rows]),
                "period_end_ms": end_ms,
                "unit": pl.Series([row.amount.Unit if row.amount else None for row in rows], dtype=pl.String),
                "amount_usd": amounts.cast(pl.Float64, strict=False),
                "estimated": pl.Series([row.estimated for row in rows], dtype=pl.Boolean),
            }
        )

    def _entity(self, keys: Sequence[str]) -> str:
        """Return whose a group is; a tag without a value says nothing."""
        tags = dict(key.split("$", 1) for key in keys if "$" in key)
        return entity_of(self.identity, tags, [key for key in keys if not key.endswith("$")])


def _rows(at: int, answer: _Answer, came: Stamp) -> Iterator[_Row]:
    inner = answer.response or answer
    known_at = next((at for at in (answer.known_at, inner.known_at, came) if at is not None), None)
    for result in inner.ResultsByTime or ():
        period = result.TimePeriod
        groups = result.Groups or ([_Group(["total"], result.Total)] if result.Total else [])
        for group in groups:
            amount = _amount(group.Metrics)
            yield _Row(at, group.Keys, period.Start, period.End, known_at, amount, result.Estimated)


def _amount(metrics: Mapping[str, _Amount]) -> _Amount | None:
    return next((metrics[name] for name in METRICS if name in metrics), None)


def _day_ms(texts: Sequence[str]) -> pl.Series:
    """Return the start of days, or of hours where the answer is hourly."""
    return rfc3339_ms(pl.Series([f"{text}T00:00:00Z" if len(text) == 10 else text for text in texts], dtype=pl.String))


_DECODER: Final = msgspec.json.Decoder(_Answer)
