"""What every format of events must hold, beyond what every format must."""

import json
from collections.abc import Sequence
from typing import Any

from engine.ports import Decoded
from engine.schemas import SCHEMAS
from ingest.checks import EMPTY
from ingest.event_rows import MAX_MESSAGE_BYTES
from ingest.identity import Identity
from ingest.registry import format_of

DEMO = Identity("demo")
PLANTED = "Tr0ub4dor"  # begins every secret in the golden messages


def decode(name: str, *messages: Any, received_ms: Sequence[int] = ()) -> Decoded:
    """Return what comes out of messages: bytes, or what becomes JSON."""
    bodies = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
    return format_of(name, DEMO).decode(bodies, range(len(bodies)), "in", received_ms)


def rows(name: str, *messages: Any, received_ms: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Return the rows of messages of which none is refused."""
    decoded = decode(name, *messages, received_ms=received_ms)
    assert not decoded.letters, decoded.letters
    return decoded.rows.to_dicts()


def reasons(decoded: Decoded) -> list[str]:
    """Return why what was refused was."""
    return [one.reason for one in decoded.letters]


def holds(decoded: Decoded, messages: Sequence[bytes]) -> None:
    """Every message is accounted for (an empty batch holds nothing), and every row is what other parts rely on."""
    frame = decoded.rows
    assert frame.schema == SCHEMAS["events"]
    assert not any(frame[name].null_count() for name in frame.columns)
    told = set(frame["offset"]) | {one.offset for one in decoded.letters}
    untold = [one for at, one in enumerate(messages) if at not in told and one.strip() not in EMPTY]
    assert len(untold) <= sum(decoded.dropped.values())
    assert all(entity.count("/") == 3 and all(entity.split("/")) for entity in frame["entity"])
    assert all(len(message.encode()) <= MAX_MESSAGE_BYTES for message in frame["message"])
    assert set(frame["type"]) <= {"Normal", "Warning"}
    assert all(frame["reason"])


def tells_no_secret(decoded: Decoded) -> None:
    """Nothing that was planted in the golden messages is in a row or a dead letter."""
    told = [str(row) for row in decoded.rows.to_dicts()] + [one.body + one.reason for one in decoded.letters]
    assert not [one for one in told if PLANTED in one]
