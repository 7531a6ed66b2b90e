"""docs/sources.md names every format and path, and what it tells people to paste can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ingest.registry import FORMATS
from ingest.scrub_rules import KINDS
from opsbrain.endpoints import ENDPOINTS
from opsbrain.pull import pullers_of
from opsbrain.receiving import topics_of
from opsbrain.service import identity_of
from opsbrain.settings_load import load_settings
from opsbrain.wiring import engine_config, scrubber_of
from tests.conftest import ROOT

PAGES = ("sources.md", "kafka.md")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def blocks(language: str) -> list[object]:
    """Return the code blocks of a language, each with its page and its line as the test's name."""
    return [
        pytest.param(found[2], id=f"{page}:{text_of(page).count(chr(10), 0, found.start()) + 1}")
        for page in PAGES
        for found in _FENCE.finditer(text_of(page))
        if found[1] == language
    ]


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_named(name: str) -> None:
    assert f"| `{name}` |" in text_of("sources.md")


@pytest.mark.parametrize(("path", "name"), ENDPOINTS.items())
def test_every_path_stands_beside_its_format(path: str, name: str) -> None:
    assert re.search(rf"^\| `{name}` \| `{path}`", text_of("sources.md"), re.MULTILINE)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_secret_is_named(kind: str) -> None:
    assert f"| `{kind}` |" in text_of("sources.md")


@pytest.mark.parametrize("block", blocks("toml"))
def test_settings_load_and_what_they_name_is_known(block: str, tmp_path: Path) -> None:
    file = tmp_path / "opsbrain.toml"
    file.write_text(block, encoding="utf-8")
    settings = load_settings(file, {})
    engine_config(settings)
    scrubber_of(settings)
    identity_of(settings)
    topics_of(settings)
    assert all(one.format in FORMATS for one in settings.kafka.telemetry)
    assert len(pullers_of(settings, _Nowhere(), tmp_path, lambda: 0)) >= len(settings.pull.object_storage)


@pytest.mark.parametrize(("language", "parse"), [("yaml", yaml.safe_load), ("json", json.loads)])
def test_what_is_pasted_into_shippers_parses(language: str, parse: Callable[[str], object]) -> None:
    for block in blocks(language):
        assert isinstance(parse(block.values[0]), dict), block.id


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for name, anchor in _LINK.findall(_FENCE.sub("", text_of(page))):
        target = (ROOT / "docs" / name).resolve() if name else ROOT / "docs" / page
        assert target.exists(), name
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), f"{name}#{anchor}"


class _Nowhere:
    def keep(self, format: str, body: bytes) -> None:
        raise AssertionError("nothing is pulled here")
