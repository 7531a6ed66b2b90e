from __future__ import annotations

import doctest
import importlib

import pytest

from detectors.registry import DETECTORS, build
from engine.errors import ConfigError


def test_builds_by_name_with_options() -> None:
    assert build("zscore", {"half_life_windows": 30}).name == "zscore"
    for name in DETECTORS:
        assert build(name, {}).name == name


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("zcsore", {}, "choose from forest, lstm, prophet, zscore"),
        ("zscore", {"halflife": 3}, "has no key 'halflife'"),
        ("zscore", {"min_windows": "ten"}, "must be of type int"),
        ("zscore", {"min_windows": True}, "must be of type int"),
        ("zscore", {"min_windows": 1}, "must be from 4"),
        ("forest", {"trees": 0}, "forest.trees is 0"),
        ("lstm", {"lookback": 1}, "lstm.lookback is 1"),
        ("prophet", {"resolution": "weekly"}, "prophet.resolution"),
        ("prophet", {"forms": "money,gold"}, "prophet.forms"),
    ],
)
def test_refuses_with_one_line(name: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        build(name, options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("module", ["detectors.zscore", "detectors.registry", "models.templates", "models.masking"])
def test_examples_in_docstrings_are_true(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0
