from __future__ import annotations

import importlib.util

import pytest

from detectors.checks import ALL_CHECKS, Check
from detectors.registry import DETECTORS

# Why a detector need not pass a check; an empty reason is refused.
OPTED_OUT: dict[tuple[str, str], str] = {}
EXTRA = {"lstm": "torch", "prophet": "prophet"}


@pytest.mark.parametrize("check", ALL_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_passes_every_check(name: str, check: Check) -> None:
    if name in EXTRA and importlib.util.find_spec(EXTRA[name]) is None:
        pytest.skip(f"{name} needs the extra `{name}`")
    if reason := OPTED_OUT.get((name, check.__name__)):
        pytest.skip(f"opted out: {reason}")
    check(DETECTORS[name]())
