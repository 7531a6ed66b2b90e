"""Shows bytes that are no text, or only partly: what can be read of them, without secrets, safe for a terminal.

In binary encodings nothing stands between a key and its value but tags and lengths, so that the rules for text do not
see that one announces the other. What follows a key for secrets goes, up to the next byte that is no character; so does
whatever is long enough to be a token, where most is binary. It may take more than it has to: bytes are shown so that
one sees what came, not to be used.
"""

from __future__ import annotations

import re
from typing import Final

from engine.redaction import SCRUBBED as MARK
from ingest.scrub_rules import SECRET_KEY

GAP: Final = "\ufffd"
"""Stands for what is no character, or none that may be shown."""

# Control characters, and those that turn or hide what stands beside them.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 and C1
    "\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)
_BINARY: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\ufffd]")
_VALUE: Final = rf"[^\x20-\x7e](?:[^{GAP}]{{0,6}}{GAP}){{0,3}}[^{GAP}]+"  # behind tags and lengths
_HEADER: Final = re.compile(rf"(?i)(authorization|cookie){_VALUE}")
_SECRET: Final = re.compile(rf"(?i)(authorization|cookie|{SECRET_KEY})[\w.\-]{{0,16}}?{_VALUE}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9+/_=\-]{20,}")
_MOSTLY: Final = 0.1  # of the characters are gaps


def shown(body: bytes, everything: bool = True) -> tuple[str, int]:
    """Return bytes as text and how many values were taken out; unless `everything`, only those of headers are.

    Text is returned as it is, for the rules that know text, with U+FFFD for what a terminal should not get.
    """
    text = _decoded(body)
    binary = _BINARY.search(text) is not None
    text = _UNSAFE.sub(GAP, text)
    if not binary:
        return text, 0
    text, found = (_SECRET if everything else _HEADER).subn(rf"\g<1>{GAP}{MARK}", text)
    if everything and text.count(GAP) > _MOSTLY * len(text):
        text, tokens = _TOKEN.subn(MARK, text)
        found += tokens
    return text, found


def _decoded(body: bytes) -> str:
    """Return UTF-8, or UTF-16 where every other byte is 0."""
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        half = body[start::2]
        if len(half) > 1 and half.count(0) > len(half) * 0.8:
            return body.decode(encoding, errors="replace")
    return body.decode("utf-8", errors="replace")
