"""Signatures by Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`.

>>> key = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
>>> sign([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')["webhook-signature"]
'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.errors import ConfigError

_PREFIX = "whsec_"
_MIN_BYTES, _MAX_BYTES = 24, 64  # the specification's bounds on a key


@dataclass(frozen=True, slots=True)
class Check:
    """Whether a signature holds; when it does not, `reason` says why."""

    ok: bool
    reason: str


def parse_secret(text: str, key: str = "secret") -> bytes:
    """Return the key in a `whsec_<base64>` secret; raise ConfigError that names `key` (and never shows the secret)."""
    if not text.startswith(_PREFIX):
        raise ConfigError(f"{key}: a signing secret looks like {_PREFIX}<base64 of {_MIN_BYTES} to {_MAX_BYTES} bytes>")
    try:
        raw = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"{key}: what follows {_PREFIX} is not base64") from error
    if not _MIN_BYTES <= len(raw) <= _MAX_BYTES:
        raise ConfigError(f"{key}: the secret holds {len(raw)} bytes, must be {_MIN_BYTES} to {_MAX_BYTES}")
    return raw


def sign(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the three headers; several keys give several signatures, so that a receiver may know either."""
    signatures = [f"v1,{_signature(key, message_id, timestamp_s, body)}" for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }


def verify(
    keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now_s: float, tolerance_s: float = 300
) -> Check:
    """Return whether one of the signatures was made with one of `keys`, not longer than `tolerance_s` ago or ahead."""
    given = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in ("webhook-id", "webhook-timestamp", "webhook-signature") if not given.get(name)]
    if missing:
        return Check(False, f"header missing: {', '.join(missing)}")
    stamp = given["webhook-timestamp"]
    if not (stamp.isascii() and stamp.isdigit()):
        return Check(False, "webhook-timestamp is not a number of seconds")
    if abs(now_s - int(stamp)) > tolerance_s:
        return Check(False, f"webhook-timestamp is more than {tolerance_s:g} s away from now")
    expected = [_signature(key, given["webhook-id"], int(stamp), body).encode() for key in keys]
    offered = [one[3:].encode() for one in given["webhook-signature"].split(" ") if one.startswith("v1,")]
    if any(hmac.compare_digest(one, other) for one in expected for other in offered):
        return Check(True, "signature holds")
    return Check(False, "no signature matches a known secret")


def _signature(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
