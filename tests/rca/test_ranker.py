"""Rankers: every one keeps the contract on the bundled incidents, and each check refuses its bug."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from engine.errors import ConfigError
from engine.topology import Edge, Topology
from engine.types import Cause, Change, History, Ranking
from rca import checks
from rca.evidence import number, of_change
from rca.examples import EXAMPLES, ONSET_MS, WINDOW_MS, anomaly, history, incident, service
from rca.explain import path_to
from rca.ranker import RankerConfig
from rca.registry import RANKERS, build
from rca.signs import Role, role_of, strength_of

CASES = [make() for make in EXAMPLES]
DEFAULT = RankerConfig().build()


@pytest.mark.parametrize("check", checks.CHECKS, ids=str)
@pytest.mark.parametrize("name", RANKERS)
def test_every_ranker_passes_every_check(name, check):
    assert checks.CHECKS[check](build(name), CASES) == []


def test_an_unknown_ranker_is_named_in_the_error():
    with pytest.raises(ConfigError, match="no ranker 'oracle'"):
        build("oracle")


# Each check refuses its bug.


class Spoiled:
    """The default ranker with a bug put in: `spoil` changes what it says."""

    def __init__(self, spoil):
        self.spoil = spoil

    def rank(self, incident, topology, features):
        return self.spoil(DEFAULT.rank(incident, topology, features), incident)


def with_causes(change):
    return Spoiled(lambda ranking, _: Ranking(tuple(change(ranking.causes))) if ranking.causes else ranking)


class ColumnOrder:
    """Names entities in the order in which they come, whatever they show."""

    def rank(self, incident, topology, features):
        names = list(dict.fromkeys(one.entity for one in incident.anomalies)) or ["first"]
        return Ranking(tuple(Cause(name, 1.0 / (1 + place), (), (name,)) for place, name in enumerate(names)))


class Counting:
    def __init__(self):
        self.asked = 0

    def rank(self, incident, topology, features):
        self.asked += 1
        ranking = DEFAULT.rank(incident, topology, features)
        return Ranking(tuple(replace(one, score=one.score / self.asked) for one in ranking.causes))


class ByName:
    """Prefers what comes early in the alphabet."""

    def rank(self, incident, topology, features):
        ranking = DEFAULT.rank(incident, topology, features)
        names = sorted(one.entity for one in ranking.causes)
        return Ranking(tuple(replace(one, score=one.score / (1 + names.index(one.entity))) for one in ranking.causes))


@pytest.mark.parametrize(
    ("ranker", "check", "complaint"),
    [
        (with_causes(lambda causes: reversed(causes)), "finds the cause", "the first cause is"),
        (with_causes(lambda causes: [replace(one, score=one.score * 9) for one in causes]), "scores", "outside [0, 1]"),
        (with_causes(lambda causes: [replace(causes[0], score=float("nan"))]), "scores", "outside [0, 1]"),
        (with_causes(lambda causes: reversed(causes)), "scores", "not best first"),
        (with_causes(lambda causes: [causes[0], causes[0]]), "scores", "named twice"),
        (Counting(), "pure", "another answer"),
        (ColumnOrder(), "order", "the order of what it is given"),
        (ByName(), "names", "other scores under other names"),
        (ColumnOrder(), "abstains", "it names first without any anomaly"),
        (ColumnOrder(), "abstains", "of which none is ready"),
        (Spoiled(lambda ranking, _: ranking if ranking.causes else Ranking((), " ")), "abstains", "without a reason"),
        (with_causes(lambda causes: [replace(one, evidence=()) for one in causes]), "evidence", "without evidence"),
        (with_causes(lambda causes: [replace(one, path=("x",)) for one in causes]), "evidence", "begins elsewhere"),
        (
            with_causes(lambda causes: [replace(one, evidence=causes[-1].evidence) for one in causes]),
            "evidence",
            "is about another entity",
        ),
    ],
)
def test_each_check_refuses_its_bug(ranker, check, complaint):
    assert any(complaint in text for text in checks.CHECKS[check](ranker, CASES))


# What it takes into account.


def first(case, topology=None, features=None):
    return DEFAULT.rank(case, topology or Topology(), features or history()).causes


def chain():
    return CASES[0].topology()


def test_the_path_leads_from_the_cause_to_where_users_notice():
    cause = first(CASES[0].incident, chain())[0]
    assert cause.path == (service("payments"), service("orders"), service("gateway"))


def test_evidence_is_in_plain_words_with_numbers():
    lines = [one.text for one in first(CASES[2].incident, chain())[0].evidence]
    assert lines[0] == "inventory: image 2.3.0 -> 2.3.1, 40 s before the first sign, 22:12:40"
    assert "span.p99_ms of inventory 40 -> 900 ms, 22:13:20" in lines


def test_the_earlier_of_two_alike_comes_first():
    late = anomaly(service("b"), "cpu_usage", 0.9, usual=0.2, windows_late=3)
    early = anomaly(service("c"), "cpu_usage", 0.9, usual=0.2)
    assert [one.entity for one in first(incident([late, early]))] == [service("c"), service("b")]


def test_more_load_blames_less_than_own_trouble():
    load = anomaly(service("a"), "span.rate", 900.0, tail_p=1e-10)
    own = anomaly(service("b"), "cpu_usage", 0.9, usual=0.2, tail_p=1e-6)
    assert first(incident([load, own]))[0].entity == service("b")


def test_being_faster_or_more_available_is_hardly_trouble():
    faster = anomaly(service("a"), "span.p99_ms", 4.0, tail_p=1e-10)
    slower = anomaly(service("b"), "span.p99_ms", 80.0, tail_p=1e-5)
    assert first(incident([faster, slower]))[0].entity == service("b")


@pytest.mark.parametrize(
    ("before_ms", "counts"), [(40_000, True), (-30_000, True), (31 * 60_000, False), (-90_000, False)]
)
def test_only_changes_shortly_before_the_first_sign_count(before_ms, counts):
    change = Change("c", service("inventory"), ONSET_MS - before_ms, "deployment", "inventory: image 1 -> 2")
    case = incident(CASES[2].incident.anomalies, [change])
    named = any(line.kind == "change" for cause in first(case, chain()) for line in cause.evidence)
    assert named == counts


def test_a_changed_entity_that_shows_nothing_is_a_candidate_for_its_callers_trouble():
    change = Change("c", service("store"), ONSET_MS - 10_000, "config", "ConfigMap store: POOL 40 -> 4")
    signs = [anomaly(service(name), "span.p99_ms", 900.0, tail_p=1e-3) for name in ("payments", "orders")]
    assert service("store") in [one.entity for one in first(incident(signs, [change]), chain())]


def test_in_a_long_incident_a_change_is_judged_by_what_began_after_it():
    old = anomaly(service("inventory"), "cpu_usage", 0.9, usual=0.2)
    new = [anomaly(service(name), "span.p99_ms", 900.0, windows_late=60) for name in ("payments", "orders")]
    at_ms = ONSET_MS + 60 * WINDOW_MS - 5_000
    changes = [Change(name, service(name), at_ms, "deployment", f"{name}: new") for name in ("payments", "inventory")]
    causes = {one.entity: one for one in first(incident([old, *new], changes), chain())}
    weights = {
        name: next((line.strength for line in causes[service(name)].evidence if line.kind == "change"), 0.0)
        for name in ("payments", "inventory")
    }
    assert weights["payments"] > 0.9 > weights["inventory"]
    assert next(iter(causes)) == service("payments")


def test_a_change_far_away_in_the_graph_is_no_evidence():
    change = Change("c", service("elsewhere"), ONSET_MS - 10_000, "deployment", "elsewhere: image 1 -> 2")
    case = incident(CASES[0].incident.anomalies, [change])
    assert service("elsewhere") not in [one.entity for one in first(case, chain())]


def test_weak_signs_of_neighbours_come_from_the_context():
    frame = pl.DataFrame(
        {
            "start_ms": [ONSET_MS, ONSET_MS, ONSET_MS - 50 * WINDOW_MS],
            "entity": [service("store"), service("elsewhere"), service("inventory")],
            "indicator": ["cpu_usage"] * 3,
            "form": ["gauge"] * 3,
            "value": [0.9] * 3,
            "tail_p": [1e-5] * 3,
            "direction": [1] * 3,
            "expected_lo": [0.1] * 3,
            "expected_hi": [0.3] * 3,
        }
    )
    features = History("demo", WINDOW_MS, 0, ONSET_MS, frame)
    signs = [anomaly(service("payments"), "span.p99_ms", 900.0)]
    named = [one.entity for one in first(incident(signs), chain(), features)]
    assert service("store") in named
    assert service("elsewhere") not in named
    assert service("inventory") not in named


def test_without_a_graph_it_still_ranks():
    assert first(CASES[1].incident)[0].entity in {service("orders"), service("gateway")}


def test_it_abstains_with_a_reason():
    assert DEFAULT.rank(incident([]), Topology(), history()).abstained == "no anomaly to explain"
    strict = RankerConfig(min_score=0.99).build()
    assert "no entity has evidence enough" in strict.rank(CASES[0].incident, chain(), history()).abstained


def test_a_cycle_of_callers_ends():
    ring = Topology({Edge(service(a), service(b), "calls"): 0 for a, b in ("ab", "bc", "ca")})
    signs = [anomaly(service(name), "span.p99_ms", 900.0) for name in "abc"]
    assert len(first(incident(signs), ring)) == 3


def test_the_shortest_path_is_taken_and_the_first_of_equals():
    edges = (("top", "b"), ("top", "a"), ("a", "end"), ("b", "end"), ("top", "x"), ("x", "y"), ("y", "end"))
    topology = Topology({Edge(*edge, "calls"): 0 for edge in edges})
    assert path_to(topology, "end", "top") == ("end", "a", "top")
    assert path_to(topology, "top", "end") == ("top",)


@pytest.mark.parametrize(
    ("indicator", "role"),
    [
        ("span.p90_ms{GET /pay}", Role.LATENCY),
        ("latency-90", Role.LATENCY),
        ("availability_Average", Role.ERROR),
        ("log.severity.error", Role.ERROR),
        ("requests_Sum", Role.LOAD),
        ("workload", Role.LOAD),
        ("container_memory_usage_bytes", Role.OWN),
        ("event.OOMKilling", Role.OWN),
        ("log.template.t1", Role.OWN),
    ],
)
def test_indicators_are_told_apart_by_name(indicator, role):
    assert role_of(indicator) is role


def test_a_log_template_about_failures_travels():
    assert role_of("log.template.t1", "call to payments timed out after <*>") is Role.ERROR


def test_strength_saturates_and_is_nothing_when_not_ready():
    assert [strength_of(p) for p in (float("nan"), 1.0)] == [0.0, 0.0]
    assert 0 < strength_of(1e-3) < strength_of(1e-10) < strength_of(0.0) < 1


def test_numbers_are_written_for_people():
    assert [number(one) for one in (0.0, 38.0, 1900.4, 0.5, 12.34, 99.96)] == ["0", "38", "1,900", "0.5", "12.3", "100"]


def test_a_change_after_the_first_sign_says_so():
    line = of_change(Change("c", "e", ONSET_MS + 5_000, "config", "x: y 1 -> 2"), 0.5, ONSET_MS)
    assert "5 s after the start of the first sign's window" in line.text


def test_settings_are_checked():
    for wrong in ({"w_abnormal": -1.0}, {"load_factor": 2.0}, {"hops": 0}, {"min_score": -0.1}):
        with pytest.raises(ConfigError, match="ranker"):
            RankerConfig(**wrong)
