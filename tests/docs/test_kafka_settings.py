"""docs/kafka.md names every security setting that both clients follow, and none that they do not."""

from __future__ import annotations

import re
import tomllib

import pytest

from engine.runners.kafka.credentials import KNOWN
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "kafka.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("key", [one for one in KNOWN if one != "sasl.mechanisms"])
def test_every_security_setting_is_named(key: str) -> None:
    stem, dot, last = key.rpartition(".")
    assert f"`{key}`" in PAGE or (last == "pem" and f"`{stem}{dot}location`" in PAGE)


def test_examples_use_settings_that_are_known() -> None:
    told = [tomllib.loads(one).get("kafka", {}).get("security", {}) for one in _BLOCK.findall(PAGE)]
    assert sum(bool(one) for one in told) >= 3
    assert {key for one in told for key in one} <= set(KNOWN)
