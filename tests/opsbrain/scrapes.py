"""Reads /metrics as Prometheus does."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

FOUR = (
    "opsbrain_received_total",
    "opsbrain_sent_total",
    "opsbrain_dropped_total",
    "opsbrain_errors_total",
)


@dataclass(frozen=True)
class Scrape:
    """One answer of /metrics: samples by name and labels, and the kind of each name."""

    samples: dict[str, dict[tuple[tuple[str, str], ...], float]]
    kinds: dict[str, str]

    @classmethod
    def of(cls, text: str) -> Scrape:
        samples: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        kinds: dict[str, str] = {}
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            assert name not in kinds, f"{name} comes twice"
            assert family.documentation, f"{name} does not say what it means"
            kinds[name] = family.type
            for one in family.samples:
                assert one.name == name
                of = samples.setdefault(name, {})
                labels = tuple(sorted(one.labels.items()))
                assert labels not in of, f"{name}{labels} comes twice"
                of[labels] = one.value
        return cls(samples, kinds)

    def value(self, name: str, **labels: str) -> float:
        return self.samples[name][tuple(sorted(labels.items()))]

    def components(self, name: str) -> set[str]:
        return {dict(labels)["component"] for labels in self.samples.get(name, {})}


def check_four(scrape: Scrape) -> None:
    """Refuse a scrape in which a component does not report the same four things as the others."""
    named = {name: scrape.components(name) for name in FOUR}
    every = set().union(*named.values())
    missing = {name: sorted(every - found) for name, found in named.items() if every - found}
    assert every and not missing, f"components that do not report: {missing}"
