"""Names as a cluster makes them: template hashes, pod suffixes, uids, container ids. All from a seed."""

import hashlib
import json
import random
import uuid
from collections.abc import Mapping

# Kubernetes leaves out vowels and look-alikes, so that no name spells a word (apimachinery, util/rand).
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Mapping[str, object]) -> str:
    """Return the ten characters that name a ReplicaSet: equal templates give equal names."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


class Names:
    """Draws the random parts of names from one seeded generator."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def pod_suffix(self) -> str:
        """Return the last five characters of a pod's name."""
        return "".join(self._random.choice(_ALPHABET) for _ in range(5))

    def uid(self) -> str:
        """Return a uid in the form of an RFC 4122 random uuid."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def container_id(self) -> str:
        """Return the 64 hex digits of a container id."""
        return f"{self._random.getrandbits(256):064x}"
