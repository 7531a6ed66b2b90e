"""What a Prometheus knows is handed over once, oldest first; a crash repeats at most one piece."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest

from engine.errors import ConfigError, Retryable, SourceError
from ingest.identity import Identity
from ingest.registry import format_of
from opsbrain.pull.prometheus_backfill import FORMAT, UNREACHED_MS, BackfillConfig, PrometheusBackfill

MINUTE_MS = 60_000
NOW_MS = 1_755_856_830_000
CONFIG = BackfillConfig("http://prometheus", "s3cret", ("{job='a'}", "{job='b'}"), 60 * MINUTE_MS, MINUTE_MS)


class Kept:
    """Keeps bodies in a list, and refuses them while `full`."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.full = False

    def keep(self, format: str, body: bytes) -> None:
        assert format == FORMAT
        if self.full:
            raise Retryable("full", 1.0)
        self.bodies.append(body)


def prometheus(asked: list[dict[str, str]]) -> Callable[[], httpx.Client]:
    """Return a client of a Prometheus that has one series of each matcher, whose value is its time in minutes."""

    def answer(request: httpx.Request) -> httpx.Response:
        question = {key: values[0] for key, values in parse_qs(request.content.decode()).items()}
        asked.append(question)
        start, end, step = (float(question[key]) for key in ("start", "end", "step"))
        times = [start + step * n for n in range(int((end - start) / step) + 1)]
        series = {
            "metric": {"__name__": "up", "job": question["query"][6]},
            "values": [[t, str(t // 60)] for t in times],
        }
        return httpx.Response(
            200, json={"status": "success", "data": {"resultType": "matrix", "result": [series]}, "warnings": ["x"]}
        )

    return lambda: httpx.Client(base_url="http://prometheus", transport=httpx.MockTransport(answer))


def rows(kept: Kept) -> list[tuple[int, str, float]]:
    decoded = format_of(FORMAT, Identity("demo")).decode(kept.bodies, range(len(kept.bodies)), FORMAT)
    assert not decoded.letters
    return decoded.rows.select("ts_ms", "entity", "value").rows()


def test_every_step_of_every_matcher_comes_once_and_in_order(tmp_path: Path) -> None:
    kept, asked = Kept(), []
    puller = PrometheusBackfill(CONFIG, kept, tmp_path, NOW_MS, prometheus(asked))
    assert puller.busy(NOW_MS)
    puller.poll(NOW_MS)
    found = rows(kept)
    assert len(found) == len(set(found)) == 120
    times = [one[0] for one in found]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (NOW_MS // MINUTE_MS * MINUTE_MS - 60 * MINUTE_MS, NOW_MS - 90_000)
    assert not puller.busy(NOW_MS)
    assert len(asked) < 10  # pieces grow once it is known how many series there are
    PrometheusBackfill(CONFIG, kept, tmp_path, NOW_MS, prometheus(asked)).poll(NOW_MS + MINUTE_MS)
    assert len(rows(kept)) == 120


def test_what_was_not_kept_is_asked_for_again(tmp_path: Path) -> None:
    kept = Kept()
    kept.full = True
    first = PrometheusBackfill(CONFIG, kept, tmp_path, NOW_MS, prometheus([]))
    with pytest.raises(Retryable):
        first.poll(NOW_MS)
    assert first.busy(NOW_MS)
    kept.full = False
    PrometheusBackfill(CONFIG, kept, tmp_path, NOW_MS, prometheus([])).poll(NOW_MS)
    assert len(rows(kept)) == 120


def test_it_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    kept = Kept()
    kept.full = True
    puller = PrometheusBackfill(CONFIG, kept, tmp_path, NOW_MS, prometheus([]))
    assert not puller.busy(NOW_MS + UNREACHED_MS)
    with pytest.raises(Retryable):
        puller.poll(NOW_MS)
    assert puller.busy(NOW_MS + UNREACHED_MS)  # there is somebody, who answers
    assert not puller.busy(NOW_MS + CONFIG.give_up_ms)


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx.Response(400, json={"status": "error", "error": "parse error"}), SourceError),
        (httpx.Response(503, json={"status": "error", "error": "starting"}), Retryable),
        (httpx.Response(422, json={"status": "error", "error": "no\n\x1b[31mway\x9b\u202e" * 99}), SourceError),
        (httpx.Response(200, text='{"data":' + "[" * 100_000), Retryable),
        (httpx.Response(502, text="<html>"), Retryable),
        (httpx.Response(200, text=json.dumps([1])), Retryable),
    ],
    ids=["wrong question", "starting", "escapes", "too deep", "proxy", "something else"],
)
def test_a_bad_answer_is_one_line_without_the_token(tmp_path: Path, response: httpx.Response, error: type) -> None:
    def client() -> httpx.Client:
        return httpx.Client(base_url="http://prometheus", transport=httpx.MockTransport(lambda _: response))

    with pytest.raises(error) as caught:
        PrometheusBackfill(CONFIG, Kept(), tmp_path, NOW_MS, client).poll(NOW_MS)
    assert "s3cret" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("token", ["t\u00f6k", "a\nb", "a\x00"])
def test_a_token_that_no_header_holds_is_refused_at_once(token: str) -> None:
    with pytest.raises(ConfigError, match=r"^pull\.prometheus\.token: ") as caught:
        replace(CONFIG, token=token)
    assert token not in str(caught.value)
