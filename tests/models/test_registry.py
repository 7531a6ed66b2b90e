from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import ConfigError, SourceError, StateMismatch
from models.registry import ModelRegistry

STATE = {"version": 1, "weights": np.arange(6.0).reshape(2, 3), "names": ["a", "b"]}


def test_what_was_registered_comes_back_with_its_origin(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path)
    later = registry.add("forest", "demo", 0, 2_000, 7, STATE)
    earlier = registry.add("forest", "demo", 0, 1_000, 7, STATE)
    assert registry.versions("forest") == [earlier, later]
    assert registry.versions("lstm") == []
    manifest, state = registry.load("forest", later.version)
    assert manifest == later
    assert np.array_equal(state["weights"], STATE["weights"])
    fit = registry.fit("forest", later.version, 5_000)
    assert (fit.scope, fit.model, fit.until_ms, fit.from_ms) == ("demo", "forest", 2_000, 5_000)


def test_the_same_model_is_the_same_version(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path)
    assert registry.add("forest", "demo", 0, 1, 7, STATE) == registry.add("forest", "demo", 0, 1, 7, STATE)
    assert len(registry.versions("forest")) == 1
    assert not list(tmp_path.rglob("*.part"))


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path)
    version = registry.add("forest", "demo", 0, 1, 7, STATE).version
    state = tmp_path / "forest" / version / "state.bin"
    state.write_bytes(state.read_bytes()[:-1] + b"\x00")
    with pytest.raises(StateMismatch, match="damaged"):
        registry.load("forest", version)
    (tmp_path / "forest" / version / "manifest.json").write_text("{")
    with pytest.raises(StateMismatch, match="no manifest"):
        registry.load("forest", version)


def test_what_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no model"):
        ModelRegistry(tmp_path).load("forest", "v-0")
    with pytest.raises(ConfigError, match="plain word"):
        ModelRegistry(tmp_path).add("../up", "demo", 0, 1, 7, STATE)
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="cannot write"):
        ModelRegistry(tmp_path / "file").add("forest", "demo", 0, 1, 7, STATE)
