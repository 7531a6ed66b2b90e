"""AWS CloudTrail: a log file (`{"Records": [...]}`), one record, or EventBridge's envelope around one; a row a record.

Calls that only read, and data events (objects read and written, functions invoked), are traffic and left out, unless
they failed. What is left is what somebody changed or tried to: the reason is the call's name, a Warning when it failed
(also a console login that says `Failure`, and an unusual rate of calls while it lasts). The entity is the resource that
the call is about: of `resources`, else of the parameters and answers that name one, else the account.

The message begins with the service that was called, as in `ec2.amazonaws.com: RebootInstances by ...`; parameters
follow, short ones only, without what is kept under a secret's name. Addresses of callers stay: who did it is the point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec

from engine.ports import Decoded
from engine.redaction import SCRUBBED
from engine.schemas import Kind
from ingest.aws_resources import arns_of
from ingest.event_rows import EventRow, Found, LeftOut, Unusable, decode_events, each, sentence
from ingest.identity import Identity
from ingest.refused import Refused
from ingest.scrub import Scrubber, looks_secret

MAJOR_VERSION: Final = "1"
READ_ONLY: Final = "read-only call"
DATA_EVENT: Final = "data event"
DIGEST: Final = "digest of log files"
_SHOWN_PARAMETERS: Final = 6
_SHOWN_CHARS: Final = 120


class _Issuer(msgspec.Struct):
    arn: str | None = None


class _Context(msgspec.Struct):
    sessionIssuer: _Issuer | None = None


class _Who(msgspec.Struct):
    type: str | None = None
    arn: str | None = None
    accountId: str | None = None
    invokedBy: str | None = None
    sessionContext: _Context | None = None


class _Resource(msgspec.Struct):
    ARN: str | None = None
    arn: str | None = None
    accountId: str | None = None


class _Insight(msgspec.Struct):
    state: str | None = None
    eventSource: str | None = None
    eventName: str | None = None
    insightType: str | None = None


class _Record(msgspec.Struct):
    eventVersion: str
    eventTime: str | None = None
    eventName: str | None = None
    eventSource: str | None = None
    eventID: str | None = None
    eventType: str | None = None
    eventCategory: str | None = None
    awsRegion: str | None = None
    sourceIPAddress: str | None = None
    userIdentity: _Who | None = None
    requestParameters: Any = None
    responseElements: Any = None
    resources: list[_Resource] | None = None
    errorCode: str | None = None
    errorMessage: str | None = None
    readOnly: bool | str | None = None
    managementEvent: bool | None = None
    recipientAccountId: str | None = None
    insightDetails: _Insight | None = None


class _Body(msgspec.Struct):
    """The shapes that a message may have: exactly one of these is there."""

    Records: list[msgspec.Raw] | None = None
    detail: msgspec.Raw = msgspec.Raw()
    eventVersion: msgspec.Raw = msgspec.Raw()
    digestS3Bucket: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class Cloudtrail:
    """Decodes audit records."""

    name: ClassVar[str] = "cloudtrail"
    kind: ClassVar[Kind] = "events"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a record, and a dead letter for each message or record that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        return decode_events(refused, self.scrubber, received_ms, _records, self._read)

    def _read(self, records: Sequence[msgspec.Raw] | None) -> Iterator[Found]:
        if records is None:
            yield LeftOut(DIGEST)
        for record in each(records or (), _RECORD.decode):
            yield record if isinstance(record, Unusable) else self._found(record)

    def _found(self, record: _Record) -> Found:
        if record.eventVersion.partition(".")[0] != MAJOR_VERSION:
            return Unusable(f"eventVersion is not {MAJOR_VERSION}.x")
        if record.eventTime is None:
            return Unusable("no eventTime")
        failed = _failed(record)
        if not failed and str(record.readOnly).lower() == "true":
            return LeftOut(READ_ONLY)
        if not failed and (record.eventCategory in ("Data", "NetworkActivity") or record.managementEvent is False):
            return LeftOut(DATA_EVENT)
        return self._row(record, failed)

    def _row(self, record: _Record, failed: bool) -> EventRow:
        insight = record.insightDetails
        reason = record.eventName or (insight.insightType if insight else None) or ""
        if insight and insight.state == "End":
            reason += "End"
        return EventRow(
            time=record.eventTime,
            entity=self._entity(record),
            reason=reason,
            message=_message(record, reason),
            warning=failed or bool(insight and insight.state == "Start"),
            uid=record.eventID or "",
            facts=("cloudtrail", record.eventID) if record.eventID else (),
        )

    def _entity(self, record: _Record) -> str:
        account = record.recipientAccountId or (record.userIdentity and record.userIdentity.accountId) or "unattributed"
        for arn in _arns(record, account):
            entity = self.identity.of_arn(arn)
            if entity.split("/")[1] != "account":
                return entity
        return self.identity.account(account)


def _records(body: bytes) -> list[msgspec.Raw] | None:
    """Return the records of a message as they stand in it; None for the digest that lies beside log files."""
    shape = _BODY.decode(body)
    if shape.Records is not None:
        return shape.Records
    if bytes(shape.detail):
        return [shape.detail]
    if bytes(shape.digestS3Bucket):
        return None
    if not bytes(shape.eventVersion):
        raise msgspec.ValidationError("no Records, detail or eventVersion")
    return [msgspec.Raw(body)]


def _failed(record: _Record) -> bool:
    answers = record.responseElements
    login = answers.get("ConsoleLogin") if isinstance(answers, Mapping) else None
    return bool(record.errorCode) or login == "Failure"


def _arns(record: _Record, account: str) -> Iterator[str]:
    """Yield ARNs of what a call is about: as stated, then as parameters and answers name it."""
    for resource in record.resources or ():
        if arn := resource.ARN or resource.arn:
            yield arn
    service = (record.eventSource or "").partition(".")[0]
    for said in (record.requestParameters, record.responseElements):
        yield from arns_of(said, service, record.awsRegion or "", account)


def _message(record: _Record, reason: str) -> str:
    outcome = f"failed with {record.errorCode}" if record.errorCode else "failed" if _failed(record) else None
    told = record.insightDetails
    return sentence(
        f"{record.eventSource or (told.eventSource if told else None) or 'aws'}: {reason}",
        f"of {told.eventName}" if told and told.eventName else None,
        _who(record),
        f"in {record.awsRegion}" if record.awsRegion else None,
        outcome,
        f"({record.errorMessage})" if record.errorMessage else None,
        _parameters(record.requestParameters),
    )


def _who(record: _Record) -> str | None:
    """Return who called, by the role that a session took rather than by the session, and from where."""
    who = record.userIdentity
    if who is None:
        return None
    issuer = who.sessionContext.sessionIssuer if who.sessionContext else None
    name = (issuer.arn if issuer else None) or who.arn or who.invokedBy or who.type
    origin = record.sourceIPAddress
    return sentence(f"by {name}" if name else None, f"from {origin}" if origin and origin != name else None)


def _parameters(said: Any) -> str | None:
    """Return the first parameters that are short values; those under a secret's name without their value."""
    if not isinstance(said, Mapping):
        return None
    shown = [
        f"{key}={SCRUBBED if looks_secret(key) else str(value)[:_SHOWN_CHARS]}"
        for key, value in said.items()
        if isinstance(value, str | int | float) and value != ""
    ]
    return f"with {', '.join(shown[:_SHOWN_PARAMETERS])}" if shown else None


_BODY: Final = msgspec.json.Decoder(_Body)
_RECORD: Final = msgspec.json.Decoder(_Record)
