from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.types import Evidence, Outcome, Phase, Ranking, Severity
from opsbrain.report.history import pick, wanted
from opsbrain.report.overview import LANES, overview
from opsbrain.report.page import render_report
from opsbrain.report.plot import MAX_POINTS, Mark, draw
from opsbrain.report.view import Plotted, ReportView, Told
from tests.opsbrain.samples import GATEWAY, ORDERS, PAYMENTS, T0, fix, incident

HOSTILE = "</pre><script>alert(1)</script><img src=http://evil/x onerror=alert(2)>\"'><a href='javascript:x'>{{ 7*7 }}"

HARMLESS = """
    html head meta title link style body div header footer nav section details summary a b i p span small time
    h1 h2 h3 h4 h5 ul ol li table tr th td pre figure svg path line polygon polyline
"""


def series(values: list[float], form: str = "gauge", **bands: float) -> Plotted:
    count = len(values)
    starts = (T0 + np.arange(count) * 60_000).astype(np.int64)
    lo, hi = (np.full(count, bands.get(name, float("nan"))) for name in ("lo", "hi"))
    return Plotted(starts, np.array(values, dtype=np.float64), lo, hi, form)


def view(**more: object) -> ReportView:
    base = ReportView(
        "demo",
        incidents=[incident(2, Phase.RESOLVED)],
        fixes=[fix()],
        series={(PAYMENTS, "span.p90_ms"): series([45.0, 46, 400, 420, 430], "duration", lo=38, hi=55)},
        notifications=[Told("hook", "inc-0123456789abcdef", "opened", "delivered", 1, "HTTP 204", "verified")],
        counts={"rows": 1234567, "source": "demo"},
    )
    return replace(base, **more)  # type: ignore[arg-type]


class Page(HTMLParser):
    """Every tag with its attributes, and whether the tags nest."""

    VOID = frozenset({"meta", "link", "br", "img"})
    EMPTY_SVG = frozenset({"path", "line", "polygon", "polyline"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def test_the_cause_comes_before_the_evidence_before_the_fix():
    html = render_report(view())
    order = [html.index(text) for text in ("Most likely cause", "How it spread", ">Evidence<", ">Proposed fix<")]
    assert order == sorted(order)
    assert "1.4.3" in html and "4 of 5 checks passed, 1 inconclusive" in html


def test_every_verdict_is_shown_by_word():
    html = render_report(view())
    for word, count in (("passed", 4), ("inconclusive", 1)):
        assert len(re.findall(rf'<td class="how"><span class="pill {word}">.*?{word}</span></td>', html)) == count
    failed = replace(fix().verdicts[2], outcome=Outcome.FAILED, showed="no such container")
    html = render_report(view(fixes=[fix(verdicts=(*fix().verdicts[:2], failed))]))
    assert 'pill failed"><span aria-hidden="true">✕</span>failed' in html and "no such container" in html


def test_action_and_undo_are_there_as_yaml_and_commands():
    html = render_report(view())
    assert "value: payments:1.4.2" in html and "value: payments:1.4.3" in html
    assert html.count("kubectl patch deployment.v1.apps payments -n shop") == 2


def test_nothing_is_loaded_from_anywhere_and_nothing_runs():
    page = Page(render_report(view()))
    assert not page.named("script") and not page.named("img") and not page.named("iframe")
    assert [one["href"] for one in page.named("link")] == ["data:,"]
    policy = next(one for one in page.named("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert str(policy["content"]).startswith("default-src 'none'")
    assert all(str(one["href"]).startswith(("#", "/")) for one in page.named("a"))
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]


def test_hostile_text_stays_text_wherever_it_comes_from():
    bad = HOSTILE
    evil = incident(
        title=bad, scope=bad, entities=(bad,), changes=(replace(incident().changes[0], summary=bad, kind=bad),)
    )
    sign = Evidence(bad, bad, bad, 1, 0.5, T0, bad)
    causes = tuple(replace(one, entity=bad, path=(bad, bad), evidence=(sign,)) for one in evil.ranking.causes)
    anomalies = tuple(replace(one, entity=bad, indicator=bad, text=bad, detectors=(bad,)) for one in evil.anomalies)
    moments = tuple(replace(one, reason=bad, what=bad) for one in evil.transitions)
    evil = replace(evil, ranking=Ranking(causes), anomalies=anomalies, transitions=moments)
    one = fix(title=bad, rationale=bad, blast_radius=(bad,), playbook=bad)
    actions = tuple(replace(action, body=f'"{bad}', name=bad, namespace=bad) for action in one.actions)
    verdicts = tuple(replace(verdict, ran=bad, showed=bad) for verdict in one.verdicts)
    html = render_report(
        view(
            title=bad,
            subtitle=bad,
            incidents=[evil],
            fixes=[replace(one, actions=actions, undo=actions, verdicts=verdicts)],
            series={(bad, bad): series([1.0, 2.0, 3.0])},
            notifications=[Told(bad, evil.id, bad, "failed", 1, bad, bad)],
            counts={bad: bad},
            standings={one.id: bad},
        )
    )
    page = Page(html)
    assert {tag for tag, _ in page.tags} <= set(HARMLESS.split())
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert all(str(one["href"]).startswith(("#", "/")) for one in page.named("a"))
    assert html.count("{{ 7*7 }}") > 20


def test_the_same_view_gives_the_same_bytes():
    assert render_report(view()) == render_report(view())


def test_an_incident_without_a_cause_says_why():
    html = render_report(view(incidents=[incident(ranking=Ranking((), "nothing stands out"))], fixes=[]))
    assert "No cause is named." in html and "nothing stands out" in html
    assert "Most likely cause" not in html


def test_a_quiet_run_is_a_page_too():
    html = render_report(ReportView("quiet"))
    assert "No incident" in html
    Page(html)


def test_open_and_worse_incidents_come_first():
    incidents = [
        incident(id="inc-done", phase=Phase.RESOLVED, resolved_ms=T0 + 200_000),
        incident(id="inc-warn", severity=Severity.WARNING),
        incident(id="inc-bad"),
    ]
    ids = re.findall(r'class="body" id="([^"]+)"', render_report(view(incidents=incidents)))
    assert ids == ["inc-bad", "inc-warn", "inc-done"]


def test_links_can_lead_to_pages_of_their_own():
    two = [incident(), incident(id="inc-2")]
    assert 'href="/incidents/inc-2"' in render_report(view(incidents=two, link="/incidents/{id}"))


# --- plots


def drawn(one: Plotted, *marks: Mark) -> str:
    plot = draw(one, marks, T0, T0 + len(one.value) * 60_000, "x")
    assert plot is not None
    return str(plot.svg)


def test_gaps_are_gaps_and_single_values_are_dots():
    nan = float("nan")
    svg = drawn(series([1.0, nan, 5.0, 6.0, nan]))
    lines = re.findall(r'<polyline class="seen" points="([^"]+)"', svg)
    assert len(lines) == 2 and len(set(lines[0].split())) == 1 and len(lines[1].split()) == 2
    assert "nan" not in svg


def test_nothing_to_see_is_no_plot():
    nan = float("nan")
    assert draw(series([nan, nan]), (), T0, T0 + 120_000, "x") is None
    assert draw(series([1.0]), (), T0 + 60_000, T0 + 120_000, "x") is None
    assert draw(series([]), (), T0, T0 + 1, "x") is None


def test_a_spike_survives_thinning():
    values = [1.0] * 5000
    values[3333] = 99.0
    plot = draw(series(values), (), T0, T0 + 5000 * 60_000, "x")
    assert plot is not None and float(plot.top) > 99
    points = re.findall(r'points="([^"]+)"', str(plot.svg))[0].split()
    assert len(points) <= MAX_POINTS and any(float(one.split(",")[1]) < 10 for one in points)


def test_a_band_far_away_does_not_press_the_line_flat():
    plot = draw(series([1.0, 2.0, 3.0], lo=0, hi=1e9), (), T0, T0 + 180_000, "x")
    assert plot is not None and float(plot.top) < 10


def test_marks_outside_are_not_drawn():
    svg = drawn(series([1.0, 2.0]), Mark(T0 - 1, "change", "x"), Mark(T0 + 60_000, "opened", "opened"))
    assert "mark change" not in svg and 'mark opened" x1="500.0"' in svg


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64), max_size=20), st.sampled_from(["gauge", "rate"])
)
def test_whatever_the_numbers_the_drawing_is_finite(values, form):
    plot = draw(series(values, form), (), T0, T0 + 20 * 60_000, "x")
    if plot is not None:
        assert "nan" not in str(plot.svg) and "inf" not in str(plot.svg)


# --- overview and history


def test_overlapping_incidents_take_lanes_of_their_own():
    many = [incident(id=f"inc-{n}", opened_ms=T0 + n) for n in range(10)]
    laid = overview(view(incidents=many))
    assert sorted({bar.lane for bar in laid.bars}) == list(range(LANES))
    assert all(0 <= bar.left <= 100 and bar.width > 0 for bar in laid.bars)


def test_the_plotted_series_are_those_of_the_evidence():
    keys = wanted([incident()])
    assert (PAYMENTS, "span.p90_ms") in keys and (GATEWAY, "span.p90_ms") in keys
    history = pl.DataFrame(
        {
            "entity": [PAYMENTS, PAYMENTS, ORDERS],
            "indicator": ["span.p90_ms", "span.p90_ms", "other"],
            "form": ["duration"] * 3,
            "start_ms": [T0 + 60_000, T0, T0],
            "value": [2.0, 1.0, 9.0],
            "expected_lo": [None, 0.5, 0.0],
            "expected_hi": [3.0, 1.5, 0.0],
        }
    )
    picked = pick(history, keys)
    assert list(picked) == [(PAYMENTS, "span.p90_ms")]
    one = picked[PAYMENTS, "span.p90_ms"]
    assert one.value.tolist() == [1.0, 2.0] and one.form == "duration"
    assert one.lo[0] == 0.5 and np.isnan(one.lo[1])
    assert pick(history, set()) == {}


@pytest.mark.parametrize("name", ["words"])
def test_examples_in_docstrings_hold(name):
    import doctest
    import importlib

    assert doctest.testmod(importlib.import_module(f"opsbrain.report.{name}")).failed == 0
