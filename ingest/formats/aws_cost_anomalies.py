"""AWS Cost Anomaly Detection: one `GetAnomalies` answer a message, as events.

An anomaly becomes an event `CostAnomaly` of each account that caused it, named as Cost Explorer's answers grouped by
SERVICE name it, so that the event stands beside the spend that it is about. Its time is when it became known (a stamp
`known_at`, as for `aws-cost-explorer`, else when the message came in), since it is about days gone by. An anomaly is
told again as it grows: id, days, amounts and feedback together make it itself. What somebody marked as no anomaly
(`Feedback` NO) is of type Normal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import msgspec

from engine.ports import Decoded
from engine.schemas import Kind
from ingest.event_rows import EventRow, Found, Unusable, decode_events, each
from ingest.identity import Identity
from ingest.refused import Refused
from ingest.scrub import Scrubber
from ingest.times import Stamp

REASON: Final = "CostAnomaly"


class _Cause(msgspec.Struct):
    Service: str | None = None
    Region: str | None = None
    LinkedAccount: str | None = None
    UsageType: str | None = None


class _Impact(msgspec.Struct):
    TotalImpact: float | None = None
    MaxImpact: float | None = None
    TotalActualSpend: float | None = None
    TotalExpectedSpend: float | None = None


class _Score(msgspec.Struct):
    CurrentScore: float | None = None


class _Anomaly(msgspec.Struct):
    AnomalyId: str
    AnomalyStartDate: str | None = None
    AnomalyEndDate: str | None = None
    DimensionValue: str | None = None
    RootCauses: list[_Cause] | None = None
    AnomalyScore: _Score | None = None
    Impact: _Impact | None = None
    Feedback: str | None = None


class _Answer(msgspec.Struct):
    Anomalies: list[msgspec.Raw] | None = None
    known_at: Stamp = None
    response: _Answer | None = None


@dataclass(frozen=True, slots=True)
class AwsCostAnomalies:
    """Decodes cost anomalies."""

    name: ClassVar[str] = "aws-cost-anomalies"
    kind: ClassVar[Kind] = "events"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return an event an anomaly and account, and dead letters for what is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        return decode_events(refused, self.scrubber, received_ms, _ANSWER.decode, self._read)

    def _read(self, answer: _Answer) -> Iterator[Found]:
        inner = answer.response or answer
        known_at = answer.known_at if answer.known_at is not None else inner.known_at
        for one in each(inner.Anomalies or (), _ANOMALY.decode):
            if isinstance(one, Unusable):
                yield one
                continue
            services = {cause.Service for cause in one.RootCauses or () if cause.Service}
            for service in sorted(services) or [one.DimensionValue or "total"]:
                yield self._row(one, self.identity.account(service), known_at)

    def _row(self, anomaly: _Anomaly, entity: str, known_at: Stamp) -> EventRow:
        message, feedback = _message(anomaly), anomaly.Feedback or ""
        facts = (anomaly.AnomalyId, entity, message, feedback)
        return EventRow(known_at, entity, REASON, message, feedback != "NO", anomaly.AnomalyId, facts)


def _message(anomaly: _Anomaly) -> str:
    """Return what AWS says of an anomaly; it changes when the anomaly does."""
    impact = anomaly.Impact or _Impact()
    total = impact.TotalImpact if impact.TotalImpact is not None else impact.MaxImpact
    said = (("spent", impact.TotalActualSpend), ("expected", impact.TotalExpectedSpend), ("impact", total))
    amounts = [f"{what} {usd:.2f} USD" for what, usd in said if usd is not None]
    if anomaly.AnomalyScore and anomaly.AnomalyScore.CurrentScore is not None:
        amounts.append(f"score {anomaly.AnomalyScore.CurrentScore:g}")
    days = " to ".join(day[:10] for day in (anomaly.AnomalyStartDate, anomaly.AnomalyEndDate) if day)
    causes = sorted({_cause(one) for one in anomaly.RootCauses or ()})
    return "; ".join(part for part in (f"cost anomaly {days}".strip(), ", ".join(amounts), *causes) if part)


def _cause(cause: _Cause) -> str:
    return " / ".join(one for one in (cause.Service, cause.Region, cause.UsageType, cause.LinkedAccount) if one)


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_ANOMALY: Final = msgspec.json.Decoder(_Anomaly)
