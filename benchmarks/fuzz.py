"""`opsbrain bench fuzz`: a million spoiled messages over all decoders. Does anything escape, vanish or pile up?

Golden messages of every wire format are mutated (bits, cuts, splices, numbers without end, nesting without end) from a
printed seed and decoded in batches. Every message must be rows, a dead letter with a reason, dropped with a reason, or
a batch that truly holds nothing (which is looked at again, alone). What a decoder raises ends the run with its message.
"""

from __future__ import annotations

import random
import resource
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.asked import whole
from engine.errors import SourceError
from engine.ports import Format
from ingest.identity import Identity
from ingest.registry import FORMATS, format_of

MESSAGES: Final = 1_000_000
SEED: Final = 20_260_801
_BATCH: Final = 500
_MAX_BYTES: Final = 20_000  # larger goldens are cut: what is sought lies in shapes, not in size
_TOKENS: Final = (
    *(b"null", b"true", b"-1", b"1e999", b"NaN", b"18446744073709551616", b'""', b"[]", b"{}", b'"\\ud800"', b"\x00"),
    *(
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
        b"\xdf\xff\xff\xff\xff",
    ),
    *(b"[" * 2_000, b'{"a":' * 1_000, b"<a>" * 500, b"\xef\xbb\xbf", b"\n", b"}{", b"2999-13-45T99:99:99Z"),
)


@dataclass(slots=True)
class _Tally:
    """What became of one format's messages."""

    messages: int = 0
    rows: int = 0
    dead: int = 0
    dropped: int = 0
    empty: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def run(data: Path | None = None) -> dict[str, Any]:
    """Return the result of fuzzing with the goldens in `data` (a folder a format; `tests/golden` by default).

    The environment variable OPSBRAIN_FUZZ_MESSAGES asks for another number of messages, OPSBRAIN_FUZZ_SEED for another
    seed. Raises SourceError when there are no goldens.
    """
    folder = data or Path("tests/golden")
    messages = whole("OPSBRAIN_FUZZ_MESSAGES", MESSAGES, 1)
    seed = whole("OPSBRAIN_FUZZ_SEED", SEED)
    samples = {name: found for name in FORMATS if (found := _goldens(folder / name))}
    if not samples:
        raise SourceError(f"{folder}: holds no golden messages; run it in the project's folder, or give --data DIR")
    cases = [_case(name, bodies, messages // len(samples) + 1, seed) for name, bodies in samples.items()]
    return {
        "name": "fuzz",
        "version": version("opsbrain"),
        "data": {"formats": len(samples), "skipped": sorted(set(FORMATS) - set(samples)), "seed": seed},
        "metrics": {
            **{key: sum(case[key] for case in cases) for key in ("messages", "rows", "dead", "dropped", "empty")},
            "grown_mb": max(case["grown_mb"] for case in cases),
        },
        "cases": cases,
    }


def _case(name: str, bodies: Sequence[bytes], messages: int, seed: int) -> dict[str, Any]:
    format, tally = format_of(name, Identity("fuzz")), _Tally()
    chance = random.Random(f"{seed}/{name}")
    warm_mb = 0.0
    for number, batch in enumerate(_batches(bodies, messages, chance)):
        _decode(format, batch, tally)
        if number == messages // _BATCH // 2:
            warm_mb = _peak_mb()
    return {
        "format": name,
        "messages": tally.messages,
        "rows": tally.rows,
        "dead": tally.dead,
        "dropped": tally.dropped,
        "empty": tally.empty,
        "grown_mb": round(_peak_mb() - warm_mb, 1),
        "reasons": dict(tally.reasons.most_common(8)),
    }


def _decode(format: Format, bodies: Sequence[bytes], tally: _Tally) -> None:
    decoded = format.decode(bodies, range(len(bodies)), "fuzz", [1_755_856_800_000] * len(bodies))
    tally.messages += len(bodies)
    tally.rows += decoded.rows.height
    tally.dead += sum(letter.rows for letter in decoded.letters)
    tally.dropped += sum(decoded.dropped.values())
    tally.reasons.update(letter.reason[:80] for letter in decoded.letters)
    if not all(letter.reason for letter in decoded.letters):
        raise AssertionError(f"{format.name}: a dead letter says no reason")
    known = set(decoded.rows["offset"].to_list()) | {letter.offset for letter in decoded.letters}
    for offset, body in enumerate(bodies):
        if offset not in known:
            tally.empty += _holds_nothing(format, body)


def _holds_nothing(format: Format, body: bytes) -> bool:
    """Return whether a message without rows and letters holds nothing at all, rather than rows dropped on purpose."""
    alone = format.decode([body], [0], "fuzz", [1_755_856_800_000])
    if not alone.rows.is_empty() or alone.letters:
        raise AssertionError(f"{format.name}: a message vanished from its batch: {body[:200]!r}")
    return not alone.dropped


def _batches(bodies: Sequence[bytes], messages: int, chance: random.Random) -> Iterator[list[bytes]]:
    for start in range(0, messages, _BATCH):
        yield [_mutated(bodies, chance) for _ in range(min(_BATCH, messages - start))]


def _mutated(bodies: Sequence[bytes], chance: random.Random) -> bytes:
    body = bytearray(chance.choice(bodies)[:_MAX_BYTES])
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        _mutate(body, bodies, chance)
    return bytes(body)


def _mutate(body: bytearray, bodies: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(body) + 1)
    until = min(len(body), at + chance.choice((1, 1, 2, 4, 16, 200)))
    kind = chance.randrange(7)
    if kind == 0 and at < len(body):
        body[at] ^= 1 << chance.randrange(8)
    elif kind == 1 and at < len(body):
        body[at] = chance.randrange(256)
    elif kind == 2:
        del body[at:until]
    elif kind == 3:
        body[at:at] = body[at:until]
    elif kind == 4:
        body[at:until] = chance.choice(_TOKENS)
    elif kind == 5:
        del body[at:]
    else:
        other = chance.choice(bodies)
        body[at:until] = other[chance.randrange(len(other) + 1) :][:200]


def _goldens(folder: Path) -> list[bytes]:
    """Return the messages in a folder: one a file, or one a line of a .jsonl."""
    found: list[bytes] = []
    for file in sorted(folder.glob("*")):
        if file.is_file() and not file.name.startswith("."):
            body = file.read_bytes()
            found += [line for line in body.splitlines() if line] if file.suffix == ".jsonl" else [body]
    return found


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
