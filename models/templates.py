"""Learns log templates from masked lines, as they come: which words of a line are its statement, which are values.

Masking (`models.masking`) has removed what is visibly a value; what is left is words, and a word may be a value too (a
user, a host, a name). Lines of one service and one number of words are compared, as in Drain (He et al., 2017, ICWS,
"Drain: an online log parsing approach with fixed depth tree"), but a differing word becomes a variable only with
evidence, where Drain merges by similarity alone and so joins `session opened` with `session closed`:

- the words look like values: `key=...`, dotted or slashed names, or what follows a word such as `user`; or
- many lines differ in that one place alone.

Finds the statements behind lines. Blind to values of more than one word, and to optional parts.

>>> miner = TemplatesConfig().build()
>>> miner.text(miner.assign("shop", ["session of user bob opened", "session of user eve opened"], [1, 1])[1])
'session of user <*> opened'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from engine.errors import ConfigError, StateMismatch
from engine.ids import content_id
from engine.types import State
from models.masking import MARK, mask_series

VERSION: Final = 1
OTHER: Final = "<other>"
"""The template of lines that came when a service had as many templates as it may have."""

_VALUE: Final = re.compile(r"<\*>|[/\\@\ue000]|\w\.\w.*\w\.\w")  # holds a masked part, is a path, or has two dots
_LETTER: Final = re.compile(r"[^\W\d_]")
_NAMED_BEFORE: Final = frozenset(
    ["user", "username", "account", "group", "host", "hostname", "server", "client", "name", "named", "interface"]
)
_WIDE: Final = (
    "\ue000"  # what a learned variable is inside; it covers any word, where a mask covers only what was masked
)
_DELIMITERS: Final = "=:/.,_@()[]-\"'"


@dataclass(frozen=True, slots=True)
class TemplatesConfig:
    """Builds template miners.

    max_templates
        Templates of one service; bounds memory against a service that logs prose. Beyond, lines join the most similar
        template, or `<other>`.
    min_values
        In how many values a plain word must have been seen, all else equal, before it is taken for a variable. Lower:
        fewer templates, but statements that differ in a verb become one.
    min_alike
        Least share of equal words between lines of one template.
    """

    max_templates: int = 2_000
    min_values: int = 8
    min_alike: float = 0.5

    def __post_init__(self) -> None:
        if self.max_templates < 1:
            raise ConfigError(f"templates.max_templates is {self.max_templates}; it must be at least 1")
        if self.min_values < 2:
            raise ConfigError(f"templates.min_values is {self.min_values}; it must be at least 2")
        if not 0 < self.min_alike <= 1:
            raise ConfigError(f"templates.min_alike is {self.min_alike}; it must be above 0 and at most 1")

    def build(self, resume: State | None = None) -> TemplateMiner:
        """Return a miner for any number of services."""
        return TemplateMiner(self, resume)


@dataclass(slots=True)
class _Template:
    """One template: its id is a hash of its first text and stays; its words become more general."""

    id: str
    words: list[str]


class TemplateMiner:
    """Assigns template ids by service; deterministic, bounded.

    Cost: a dictionary look-up for a signature seen before; for a new one, a comparison with each template of its
    service and length. A template learned or changed by one signature holds from the next one on.
    """

    def __init__(self, config: TemplatesConfig, resume: State | None = None) -> None:
        self._config = config
        self._services: dict[str, _Service] = {}
        if resume is not None:
            if resume.get("version") != VERSION:
                raise StateMismatch(f"templates have version {resume.get('version')}, this program writes {VERSION}")
            for name, state in sorted(resume["services"].items()):
                self._services[name] = _Service(config, state)

    def assign(self, service: str, signatures: Sequence[str], counts: Sequence[int]) -> list[str]:
        """Return the template id of each signature, in the same order; learns in that order.

        `counts` (how many lines each stands for) decide nothing: one line is evidence enough of its words.
        """
        one = self._services.setdefault(service, _Service(self._config))
        return [one.assign(signature) for signature in signatures]

    def text(self, template_id: str) -> str:
        """Return the template's text as it is now (of the first service by name that has it), or "" if unknown."""
        for _, service in sorted(self._services.items()):
            text = service.text(template_id)
            if text:
                return text
        return ""

    def final(self, service: str, template_id: str) -> str:
        """Return the id that `template_id` of `service` has become by later merges; itself if it was not merged."""
        one = self._services.get(service)
        return one.final(template_id) if one else template_id

    def snapshot(self) -> State:
        """Return a copy of all state."""
        services = {name: one.snapshot() for name, one in sorted(self._services.items())}
        return {"version": VERSION, "services": services}


class _Service:
    """The templates of one service, by number of words, in the order in which they were learned."""

    __slots__ = ("_by_id", "_by_length", "_cache", "_config", "_merged")

    def __init__(self, config: TemplatesConfig, resume: State | None = None) -> None:
        self._config = config
        self._by_id: dict[str, _Template] = {}
        self._by_length: dict[int, list[_Template]] = {}
        self._merged: dict[str, str] = {}
        self._cache: dict[str, str] = {}  # never state: emptied when any template changes
        if resume is not None:
            for id, words in resume["templates"]:
                self._add(_Template(id, list(words)))
            self._merged = dict(resume["merged"])

    def snapshot(self) -> State:
        return {
            "templates": [[one.id, list(one.words)] for one in self._by_id.values()],
            "merged": [[id, into] for id, into in self._merged.items()],  # in order: the oldest is forgotten first
        }

    def text(self, id: str) -> str:
        one = self._by_id.get(self.final(id))
        return " ".join(one.words).replace(_WIDE, MARK) if one else ""

    def final(self, id: str) -> str:
        while id in self._merged:
            id = self._merged[id]
        return id

    def assign(self, signature: str) -> str:
        id = self._cache.get(signature)
        if id is None:
            id = self._find_or_learn(signature.split())
            if len(self._cache) > 4 * self._config.max_templates:
                self._cache.clear()
            self._cache[signature] = id
        return id

    def _find_or_learn(self, words: list[str]) -> str:
        alike = self._by_length.get(len(words), [])
        found = _covering(alike, words)
        if found is None:
            found = self._merge_values(alike, words) or self._merge_many(alike, words) or self._create(alike, words)
            self._cache.clear()
        return found.id

    def _merge_values(self, alike: list[_Template], words: list[str]) -> _Template | None:
        """Generalise the closest template from which the words differ only where they look like values."""
        best: tuple[int, int] | None = None
        for at, one in enumerate(alike):
            places = _differences(one.words, words)
            if self._are_alike(places, words) and all(_are_values(one.words, words, place) for place in places):
                best = min(best or (len(places), at), (len(places), at))
        return None if best is None else self._generalise(alike, alike[best[1]], words)

    def _merge_many(self, alike: list[_Template], words: list[str]) -> _Template | None:
        """Join the templates that differ from the words in one place, the same for all, if there are many."""
        by_place: dict[int, list[_Template]] = {}
        for one in alike:
            places = _differences(one.words, words)
            if len(places) == 1 and self._are_alike(places, words):
                by_place.setdefault(places[0], []).append(one)
        many = [place for place, ones in by_place.items() if len(ones) + 1 >= self._config.min_values]
        if not many:
            return None
        place = min(many, key=lambda place: (-len(by_place[place]), place))
        first, *others = by_place[place]
        first.words[place] = _WIDE
        return self._generalise(alike, first, words) if others else first

    def _create(self, alike: list[_Template], words: list[str]) -> _Template:
        if len(self._by_id) < self._config.max_templates:
            return self._add(_Template(content_id("tpl", " ".join(words)), list(words)))
        ranked = [(len(_differences(one.words, words)), at) for at, one in enumerate(alike)]
        if ranked and min(ranked)[0] <= (1 - self._config.min_alike) * len(words):
            return self._generalise(alike, alike[min(ranked)[1]], words)
        return self._by_id.get(_OTHER_ID) or self._add(_Template(_OTHER_ID, [OTHER]))

    def _add(self, one: _Template) -> _Template:
        self._merged.pop(one.id, None)  # learned anew after a merge: it stands for itself again
        self._by_id[one.id] = one
        if one.id != _OTHER_ID:
            self._by_length.setdefault(len(one.words), []).append(one)
        return one

    def _generalise(self, alike: list[_Template], one: _Template, words: list[str]) -> _Template:
        """Widen `one` until it covers `words`, and merge into it every template that it then covers."""
        one.words[:] = [_common(mine, theirs) for mine, theirs in zip(one.words, words, strict=True)]
        for other in [other for other in alike if other is not one and _covers(one.words, other.words)]:
            alike.remove(other)
            del self._by_id[other.id]
            self._remember_merge(other.id, one.id)
        return one

    def _remember_merge(self, id: str, into: str) -> None:
        self._merged[id] = into
        while len(self._merged) > 4 * self._config.max_templates:
            del self._merged[next(iter(self._merged))]  # the oldest: dictionaries keep the order of insertion

    def _are_alike(self, differences: list[int], words: list[str]) -> bool:
        telling = [place for place, word in enumerate(words) if _LETTER.search(word)]
        same = len(telling) - len(set(telling) & set(differences))
        return same >= max(1.0, self._config.min_alike * len(telling))


def _covering(templates: Sequence[_Template], words: list[str]) -> _Template | None:
    """Return the most specific template that covers `words`, the oldest among equals."""
    covering = (one for one in templates if _covers(one.words, words))
    return min(covering, key=lambda one: one.words.count(_WIDE), default=None)


def _covers(pattern: Sequence[str], words: Sequence[str]) -> bool:
    return all(mine == theirs or _matches(mine, theirs) for mine, theirs in zip(pattern, words, strict=True))


def _matches(pattern: str, word: str) -> bool:
    before, mark, after = pattern.partition(_WIDE)
    return bool(mark) and word.startswith(before) and word.endswith(after.rpartition(_WIDE)[2])


def _differences(pattern: Sequence[str], words: Sequence[str]) -> list[int]:
    """Return the places where neither word covers the other."""
    return [
        place
        for place, (mine, theirs) in enumerate(zip(pattern, words, strict=True))
        if mine != theirs and not _matches(mine, theirs) and not _matches(theirs, mine)
    ]


def _are_values(pattern: Sequence[str], words: Sequence[str], place: int) -> bool:
    mine, theirs = pattern[place], words[place]
    if place > 0 and words[place - 1].rstrip(":=").lower() in _NAMED_BEFORE:
        return True
    key = mine.partition("=")
    if key[1] and key[:2] == theirs.partition("=")[:2]:
        return True
    return _VALUE.search(mine) is not None and _VALUE.search(theirs) is not None


def _common(mine: str, theirs: str) -> str:
    """Return the pattern of both words: what they share at either end, up to a delimiter, and a mark between."""
    if mine == theirs or _matches(mine, theirs):
        return mine
    if _matches(theirs, mine):
        return theirs
    before = _shared_start(mine, theirs)
    after = _shared_start(
        mine[: len(before) - 1 : -1] if before else mine[::-1],
        theirs[: len(before) - 1 : -1] if before else theirs[::-1],
    )[::-1]
    return f"{before}{_WIDE}{after}"


def _shared_start(mine: str, theirs: str) -> str:
    shared = 0
    for at, (one, other) in enumerate(zip(mine, theirs, strict=False)):
        if one != other or one == _WIDE:
            break
        if one in _DELIMITERS:
            shared = at + 1
    return mine[:shared]


_OTHER_ID: Final = content_id("tpl", OTHER)


@dataclass(frozen=True, slots=True)
class Mined:
    """What one file of lines taught.

    `templates` has columns id, template, count, first_line (from 0), in order of first_line; `on_arrival` and `final`
    are the ids of each line when it came and after all merges.
    """

    templates: pl.DataFrame
    on_arrival: list[str]
    final: list[str]


def mine(lines: Sequence[str], config: TemplatesConfig | None = None) -> Mined:
    """Return the templates of plain lines, learned in their order; masks them first."""
    miner = (config or TemplatesConfig()).build()
    signatures = mask_series(pl.Series("line", lines, dtype=pl.String)).to_list()
    on_arrival = miner.assign("", signatures, [1] * len(signatures))
    final = [miner.final("", id) for id in on_arrival]
    templates = (
        pl.DataFrame({"id": final, "first_line": range(len(final))}, schema={"id": pl.String, "first_line": pl.Int64})
        .group_by("id", maintain_order=True)
        .agg(count=pl.len().cast(pl.Int64), first_line=pl.col("first_line").min())
        .with_columns(template=pl.col("id").map_elements(miner.text, return_dtype=pl.String))
        .select("id", "template", "count", "first_line")
    )
    return Mined(templates, on_arrival, final)
