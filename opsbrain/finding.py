"""What a check of `opsbrain doctor` found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check, and what to do where it is not good.

    "ok"; "note" (something is not there, nothing needs it); "warning" (it works, and will not always); "failed".
    """

    name: str
    outcome: str
    text: str
