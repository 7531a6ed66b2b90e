"""GitHub's hooks as forms: what a hook sends unless its content type is set to `application/json`.

Source: https://docs.github.com/en/webhooks/using-webhooks/creating-webhooks, content type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_to_bytes

FORM: Final = "application/x-www-form-urlencoded"
_FIELD: Final = b"payload="
_AT_ONCE: Final = 1 << 16


def payload_of(form: bytes, take: Callable[[int], None] = lambda size: None) -> bytes:
    """Return the JSON of the field `payload`; `take` is told how much memory that takes.

    A body that does not begin with this field, the only one that GitHub sends, is no form, whatever its type says (of
    `curl --data` too); it is returned as it is.
    """
    if not form.startswith(_FIELD):
        return form
    end = form.find(b"&")
    end = len(form) if end < 0 else end
    take(end)
    return _unquoted(form, len(_FIELD), end)


def _unquoted(form: bytes, start: int, end: int) -> bytes:
    """Undo the quoting of a part of a form; a piece at a time, since what undoes it needs much more than it returns."""
    out = bytearray()
    while start < end:
        stop = min(start + _AT_ONCE, end)
        if stop < end and (cut := form.rfind(b"%", stop - 2, stop)) > 0:
            stop = cut
        out += unquote_to_bytes(form[start:stop].replace(b"+", b" "))
        start = stop
    return bytes(out)
