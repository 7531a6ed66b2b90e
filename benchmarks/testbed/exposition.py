"""The Prometheus text format, as far as the shop's own processes write it: rendered by a pod, parsed by the scraper."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_LINE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Sample:
    """One series and its value now."""

    name: str
    labels: Mapping[str, str]
    value: float


def render(samples: Iterable[Sample]) -> str:
    """Return the text that `/metrics` answers."""
    return "".join(f"{one.name}{_braces(one.labels)} {one.value!r}\n" for one in samples)


def parse(text: str) -> Iterator[Sample]:
    """Yield the samples of such a text; comments and lines of another shape are left out."""
    for line in text.splitlines():
        found = _LINE.match(line)
        if found:
            yield Sample(found["name"], dict(_LABEL.findall(found["labels"] or "")), float(found["value"]))


def _braces(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"
