"""Fetches what a Prometheus already knows, once, so that detectors are warm in the first minutes.

The hours before the first start are asked for with `query_range`, oldest first and in pieces that fit into a body, and
kept as the input `prometheus-query-range`. While that goes on, `busy` says so, and windows of the past wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import msgspec

from engine.errors import ConfigError, Retryable, SourceError
from ingest.refused import UNREADABLE
from opsbrain.keep import Keep
from opsbrain.output import printable
from opsbrain.pull.state import StateFile

FORMAT: Final = "prometheus-query-range"
KEY: Final = "pull.prometheus"
_SAMPLES: Final = 100_000  # of one piece: some 5 MB of JSON
_MOST_STEPS: Final = 1_000
UNREACHED_MS: Final = 60_000
"""How long windows wait for a Prometheus that has not answered at all."""

_RETRY_S: Final = 10.0
_DONE_S: Final = 86_400.0
_SHOWN: Final = 200


class _State(msgspec.Struct):
    """Everything before `at_ms` was handed over; nothing from `until_ms` on is wanted."""

    at_ms: int
    until_ms: int


class _Data(msgspec.Struct):
    result: list[msgspec.Raw]


class _Answer(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class BackfillConfig:
    """What is asked for. Raises ConfigError where no header could hold the token.

    url         base address of a Prometheus, or of what answers like it (Thanos, Mimir, VictoriaMetrics)
    token       bearer token, "" for none
    matchers    series selectors; together they are what detectors get to know beforehand
    lookback_ms how far back
    step_ms     one value a series and step: the length of a window
    timeout_s   how long one question may take
    give_up_ms  after how long without an end the input is no longer held, so that the present can go on
    """

    url: str
    token: str
    matchers: Sequence[str]
    lookback_ms: int
    step_ms: int
    timeout_s: float = 60.0
    give_up_ms: int = 600_000

    def __post_init__(self) -> None:
        """Check the token."""
        if not (self.token.isascii() and self.token.isprintable()):
            raise ConfigError(f"{KEY}.token: holds a letter beyond ASCII or a control character, which no header may")


class PrometheusBackfill:
    """Hands over the hours before its first start. A restart in the middle goes on with the piece that was missing."""

    def __init__(
        self,
        config: BackfillConfig,
        keep: Keep,
        folder: Path,
        started_ms: int,
        client: Callable[[], httpx.Client] | None = None,
    ) -> None:
        self._config = config
        self._keep = keep
        self._file = StateFile(folder, "prometheus", _State)
        self._started_ms = started_ms
        self._client = client or self._own_client
        self._closed = False
        self._done = False
        self._answered = False
        self._steps = 1

    @property
    def name(self) -> str:
        """Return the settings' key."""
        return KEY

    @property
    def next_in_s(self) -> float:
        """Return how long to wait: nothing is left to do."""
        return _DONE_S

    def busy(self, now_ms: int) -> bool:
        """Return whether the input must still be waited for: not for long when nobody answers there."""
        patience_ms = self._config.give_up_ms if self._answered else UNREACHED_MS
        return not self._done and now_ms - self._started_ms < patience_ms

    def poll(self, now_ms: int) -> None:
        """Hand over what is missing; raise Retryable or SourceError when Prometheus does not answer as it should."""
        state = self._file.load() or self._begun(now_ms)
        with self._client() as client:
            while state.at_ms < state.until_ms and not self._closed:
                steps = min(self._steps, (state.until_ms - state.at_ms) // self._config.step_ms)
                series = self._asked(client, state.at_ms, steps)
                if series:
                    self._keep.keep(FORMAT, _body(series))
                state = _State(state.at_ms + steps * self._config.step_ms, state.until_ms)
                self._file.save(state)
                self._steps = max(1, min(_SAMPLES // max(len(series), 1), _MOST_STEPS))
        self._done = state.at_ms >= state.until_ms

    def close(self) -> None:
        """End after the question that is under way."""
        self._closed = True

    def _begun(self, now_ms: int) -> _State:
        step_ms = self._config.step_ms
        until_ms = now_ms // step_ms * step_ms  # the present window is for those who send
        return _State(until_ms - self._config.lookback_ms // step_ms * step_ms, until_ms)

    def _asked(self, client: httpx.Client, at_ms: int, steps: int) -> list[msgspec.Raw]:
        """Return the series of `steps` steps from `at_ms` on, of all matchers."""
        found: list[msgspec.Raw] = []
        for matcher in self._config.matchers:
            asked = {
                "query": matcher,
                "start": f"{at_ms / 1000:.3f}",
                "end": f"{(at_ms + (steps - 1) * self._config.step_ms) / 1000:.3f}",
                "step": f"{self._config.step_ms / 1000:g}",
            }
            found += self._answer(client, asked)
        return found

    def _answer(self, client: httpx.Client, asked: dict[str, str]) -> list[msgspec.Raw]:
        try:
            response = client.post("/api/v1/query_range", data=asked)
            answer = msgspec.json.decode(response.content, type=_Answer)
        except httpx.HTTPError as error:
            raise Retryable(f"{KEY}.url: cannot be asked: {type(error).__name__}", _RETRY_S) from error
        except UNREADABLE as error:
            raise Retryable(f"{KEY}.url: answers {response.status_code}, not as Prometheus does", _RETRY_S) from error
        self._answered = True
        if answer.status == "success" and answer.data is not None:
            return answer.data.result
        why = f"{KEY}: {asked['query']}: {response.status_code} {printable(answer.error)[:_SHOWN]}"
        raise Retryable(why, _RETRY_S) if response.status_code in (429, 503) else SourceError(why)

    def _own_client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self._config.token}"} if self._config.token else {}
        return httpx.Client(base_url=self._config.url, headers=headers, timeout=self._config.timeout_s)


def _body(series: Sequence[msgspec.Raw]) -> bytes:
    """Return one answer that holds the series of several."""
    return msgspec.json.encode({"status": "success", "data": {"resultType": "matrix", "result": series}})
