"""How payments seals a ledger entry, so that nobody can change it later unseen."""

import hashlib
import hmac
import json

from benchmarks.testbed.runtime import Body

_SECRET = b"not a secret: the testbed's own"

# OWASP's advice for PBKDF2-HMAC-SHA256 (Password Storage Cheat Sheet, 2023). About 0.1 s of one core.
_ITERATIONS = 600_000


def derive_key(salt: bytes) -> bytes:
    """Derive a key from the service's secret. Slow on purpose: it is meant to be done once."""
    return hashlib.pbkdf2_hmac("sha256", _SECRET, salt, _ITERATIONS)


def seal(key: bytes, entry: Body) -> str:
    """Return the seal of an entry."""
    return hmac.new(key, json.dumps(entry, sort_keys=True).encode(), hashlib.sha256).hexdigest()
