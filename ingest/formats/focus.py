"""FOCUS 1.2: a bill as CSV or Parquet (gzip or plain), one file a message; a row a day and entity.

amount     EffectiveCost, else BilledCost, where BillingCurrency is USD; lines in other currencies are refused, since an
           exchange rate is nothing that a file says
what       Usage and Purchase. Tax, Credit and Adjustment are dropped: nothing that runs causes them, and a month's
           credit would hide a day's waste. So are corrections of an earlier billing period (ChargeClass): they are a
           difference, and would take the place of the amount that they correct
when       days (UTC): hours are added up into theirs, and a charge of a month is spread evenly over its days. A day
           that was not over when the file came is dropped; a later file tells it whole
whom       a ResourceId that is the ARN of a database or queue; else what Tags name, as labels would; else a ResourceId
           that is any other ARN; else the account `ServiceName+SubAccountId` (or BillingAccountId)

All lines of an entity and day are one row, so they have to be in one message: the same day in a later message is a
revision, which takes the first one's place. (`opsbrain.pull` joins the files of an export for that.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec
import polars as pl

from engine.errors import DataError
from engine.ports import Decoded
from engine.schemas import Kind, conform, empty
from ingest.cost_rows import DAY_MS, day_of, entity_of, no_amount, summed
from ingest.focus_table import DAYS, LONGEST_DAYS, by_day, read_focus
from ingest.identity import Identity
from ingest.refused import UNREADABLE, Refused
from ingest.scrub import Scrubber
from ingest.times import OUTSIDE

_WHOM: Final = ("ResourceId", "Tags", "ServiceName", "SubAccountId", "BillingAccountId")
_NOT_CAUSED: Final = ("Tax", "Credit", "Adjustment")


@dataclass(frozen=True, slots=True)
class Focus:
    """Decodes bills. A file says of its day what it said when it came in, and nowhere says when that was."""

    name: ClassVar[str] = "focus"
    kind: ClassVar[Kind] = "costs"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return a row a day and entity, and dead letters for files that are none and for lines that cannot be used."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        dropped: Counter[str] = Counter()
        frames = [empty("costs")]
        for position, body in enumerate(bodies):
            known_ms = received_ms[position] if received_ms else 0
            try:
                frame = self._rows(read_focus(body), position, known_ms, refused, dropped)
            except DataError as error:
                refused.add(position, str(error))
                continue
            frames.append(conform("costs", frame.with_columns(refused.offsets_of(frame["at"]))))
        return Decoded(pl.concat(frames), refused.letters(), dict(dropped))

    def _rows(
        self, lines: pl.DataFrame, at: int, known_ms: int, refused: Refused, dropped: Counter[str]
    ) -> pl.DataFrame:
        lines = _left_out(_usable(lines.with_columns(at=pl.lit(at, pl.Int64)), refused), known_ms, dropped)
        lines = lines.join(self._entities(lines), on=_WHOM, how="left", nulls_equal=True, maintain_order="left")
        days = by_day(lines)
        if known_ms:
            days = days.filter(pl.col("period_end_ms") <= known_ms)
        known = pl.lit(known_ms, pl.Int64) if known_ms else pl.col("period_end_ms")
        return summed(days.with_columns(ts_ms=known, estimated=pl.lit(False)))

    def _entities(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Return whose each of the distinct resources is."""
        distinct = lines.select(_WHOM).unique(maintain_order=True)
        entities = [self._entity(*row) for row in distinct.iter_rows()]
        return distinct.with_columns(entity=pl.Series(entities, dtype=pl.String))

    def _entity(
        self, resource: str | None, tags: str | None, service: str | None, account: str | None, payer: str | None
    ) -> str:
        return entity_of(self.identity, tags_of(tags), (service or "", account or payer or ""), resource or "")


def tags_of(text: str | None) -> Mapping[str, str]:
    """Return tags from JSON; what is nothing of the kind has none."""
    if not text:
        return {}
    try:
        tags: dict[str, Any] = _TAGS.decode(text)
    except UNREADABLE:
        return {}
    return {key: value for key, value in tags.items() if isinstance(value, str)}


def _usable(lines: pl.DataFrame, refused: Refused) -> pl.DataFrame:
    """Return the lines that can be read; refuse the others."""
    foreign = pl.col("BillingCurrency").str.to_uppercase() != "USD"
    lines = refused.rows(lines, foreign, "BillingCurrency is not USD, and nothing says the rate")
    lines = refused.rows(lines, no_amount(), "EffectiveCost (or BilledCost) is missing or not an amount")
    nowhen = pl.col("start_ms").is_null() | pl.col("end_ms").is_null()
    lines = refused.rows(lines, nowhen, f"ChargePeriodStart or End: {OUTSIDE}")
    lines = refused.rows(lines, pl.col("start_ms") >= pl.col("end_ms"), "the charge period ends before it starts")
    return refused.rows(lines, DAYS > LONGEST_DAYS, f"the charge period is longer than {LONGEST_DAYS} days")


def _left_out(lines: pl.DataFrame, known_ms: int, dropped: Counter[str]) -> pl.DataFrame:
    """Return the lines that count; count the others by why they do not."""
    category = pl.col("ChargeCategory").fill_null("")
    reasons = [(category == name, f"charge category {name}") for name in _NOT_CAUSED]
    reasons.append((pl.col("ChargeClass").fill_null("") == "Correction", "correction of an earlier billing period"))
    if known_ms:
        reasons.append((day_of(pl.col("start_ms")) + DAY_MS > known_ms, "the day is not over yet"))
    for out, reason in reasons:
        kept = lines.filter(~out)
        if kept.height < lines.height:
            dropped[reason] += lines.height - kept.height
        lines = kept
    return lines


_TAGS: Final = msgspec.json.Decoder(dict[str, Any])
