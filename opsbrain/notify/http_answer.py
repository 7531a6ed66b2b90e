"""What an HTTP answer means for a delivery: taken, again later, or never."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from engine.errors import Permanent, Retryable

if TYPE_CHECKING:
    import httpx

_AGAIN = frozenset({408, 425, 429})


def judge(response: httpx.Response, receiver: str, now_ms: int) -> str:
    """Return "HTTP 200" or the like if the receiver took it; raise Retryable or Permanent otherwise."""
    status = response.status_code
    if 200 <= status < 300:
        return f"HTTP {status}"
    said = f"{receiver}: HTTP {status}{_words(response)}"
    if status in _AGAIN or status >= 500:
        raise Retryable(said, retry_after_s(response.headers.get("retry-after", ""), now_ms))
    if 300 <= status < 400:
        raise Permanent(
            f"{said}; operator action: the receiver has moved, set its new address (redirects are not followed)"
        )
    advice = {
        401: "check the credentials of the receiver",
        403: "check the credentials and the signing secret of the receiver",
        404: "check the address of the receiver",
        410: "the receiver is gone, remove it from notify",
        413: "raise the size that the receiver accepts",
    }.get(status, "see why the receiver refuses this request")
    raise Permanent(f"{said}; operator action: {advice}")


def retry_after_s(header: str, now_ms: int) -> float:
    """Return the seconds that a Retry-After header asks for (a number or an HTTP date), 0 if it says nothing usable.

    >>> retry_after_s("120", 0), retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", 30_000), retry_after_s("soon", 0)
    (120.0, 30.0, 0.0)
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), 86_400.0)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(0.0, at.timestamp() - now_ms / 1000), 86_400.0)


def _words(response: httpx.Response) -> str:
    """Return the beginning of what the receiver said, on one line and without control characters."""
    words = "".join(one if one.isprintable() else " " for one in response.text[:200]).split()
    return f" ({' '.join(words)})" if words else ""
