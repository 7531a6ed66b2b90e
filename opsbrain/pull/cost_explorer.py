"""Asks AWS Cost Explorer once a day: what the last days cost, and which anomalies AWS found.

A day is asked for when it is over (UTC), and again on each of the following `lookback_days`, since amounts are revised.
All pages of an answer are joined into one message, so that what an entity spent is told whole; an answer too large for
one is cut between days. An anomaly is handed over when it is new or says something else than yesterday.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.errors import SourceError
from opsbrain.keep import Keep
from opsbrain.pull.aws import aws_client, aws_errors
from opsbrain.pull.state import StateFile
from opsbrain.settings import CostExplorer

COSTS: Final = "aws-cost-explorer"
ANOMALIES: Final = "aws-cost-anomalies"
MAX_TOLD: Final = 10_000  # anomalies remembered; AWS keeps them for 90 days
ENVELOPE_BYTES: Final = 1_024  # what a body has besides its parts, at most
MAX_PAGES: Final = 1_000  # of one answer, which has some ten
WAIT_S: Final = 600.0  # how soon it is noticed that the hour has come

_DAY: Final = timedelta(days=1)
_DIMENSION: Final = "DIMENSION"
_TYPES: Final = ("TAG", "COST_CATEGORY", _DIMENSION)


class Asked(msgspec.Struct):
    """What is remembered: the day on which costs were asked for last, and what was told of each anomaly, by its id."""

    day: str = ""
    anomalies_day: str = ""
    told: dict[str, str] = {}


class CostExplorerPuller:
    """Pulls costs and anomalies. Nothing is asked before the first poll."""

    def __init__(self, settings: CostExplorer, keep: Keep, folder: Path, max_body_bytes: int) -> None:
        """Build it; its memory is a file in `folder`, and a body has `max_body_bytes` at most."""
        self._settings = settings
        self._keep = keep
        self._max_body_bytes = max_body_bytes
        self._file = StateFile(folder, "cost-explorer", Asked)
        self._client: Any = None
        self._closed = threading.Event()

    @property
    def name(self) -> str:
        """Return its name in the settings."""
        return "pull.cost_explorer"

    @property
    def next_in_s(self) -> float:
        """Return how long to wait until it is looked again whether the hour has come."""
        return WAIT_S

    def close(self) -> None:
        """Let the poll under way end after the page that it is at."""
        self._closed.set()

    def poll(self, now_ms: int) -> None:
        """Ask, if that was not done today and the hour has come."""
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        asked = self._file.load() or Asked()
        today = now.date().isoformat()
        if now.hour < self._settings.hour_utc:
            return
        if asked.day < today:
            self._ask_costs(now)
            asked.day = today
            self._file.save(asked)
        if self._settings.anomalies and asked.anomalies_day < today:
            self._ask_anomalies(now, asked)
            asked.anomalies_day = today
            self._file.save(asked)

    def _ask_costs(self, now: datetime) -> None:
        question = {
            "TimePeriod": self._period(now, "Start", "End"),
            "Granularity": "DAILY",
            "Metrics": list(self._settings.metrics),
            "GroupBy": [group_of(one) for one in self._settings.group_by],
        }
        with aws_errors("GetCostAndUsage"):
            pages = list(self._pages(self._connected().get_cost_and_usage, question, "NextPageToken"))
            days = _joined(pages)
        groups = pages[0].get("GroupDefinitions", question["GroupBy"])
        for some in _cut(days, self._max_body_bytes):
            answer = {"GroupDefinitions": groups, "ResultsByTime": some}
            self._keep.keep(COSTS, _stamped(now, answer))

    def _ask_anomalies(self, now: datetime, asked: Asked) -> None:
        question = {"DateInterval": self._period(now, "StartDate", "EndDate")}
        with aws_errors("GetAnomalies"):
            pages = list(self._pages(self._connected().get_anomalies, question, "NextPageToken"))
            found = {one["AnomalyId"]: one for page in pages for one in page.get("Anomalies", ())}
        said = {id: hashlib.sha256(_json(one)).hexdigest()[:16] for id, one in found.items()}
        new = [found[id] for id in sorted(found) if asked.told.get(id) != said[id]]
        for some in _cut(new, self._max_body_bytes):
            self._keep.keep(ANOMALIES, _stamped(now, {"Anomalies": some}))
        others = {id: one for id, one in asked.told.items() if id not in said}
        asked.told = dict(list((others | said).items())[-MAX_TOLD:])

    def _period(self, now: datetime, start: str, end: str) -> dict[str, str]:
        first = now - self._settings.lookback_days * _DAY
        return {start: first.date().isoformat(), end: now.date().isoformat()}

    def _connected(self) -> Any:
        if self._client is None:
            one = self._settings
            self._client = aws_client(
                "ce", self.name, one.region, one.endpoint_url, one.access_key_id, one.secret_access_key
            )
        return self._client

    def _pages(
        self, ask: Callable[..., Mapping[str, Any]], question: Mapping[str, Any], token: str
    ) -> Iterator[Mapping[str, Any]]:
        """Yield every page of an answer."""
        following: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            if self._closed.is_set():
                raise SourceError("stopped")
            page = ask(**question, **following)
            yield page
            if not page.get(token):
                return
            following = {token: page[token]}
        raise SourceError(f"an answer has more than {MAX_PAGES:,} pages; group by less")


def group_of(text: str) -> dict[str, str]:
    """Return a group as AWS wants it.

    >>> group_of("TAG:app"), group_of("SERVICE")
    ({'Type': 'TAG', 'Key': 'app'}, {'Type': 'DIMENSION', 'Key': 'SERVICE'})
    """
    kind, colon, key = text.partition(":")
    return {"Type": kind, "Key": key} if colon and kind in _TYPES else {"Type": _DIMENSION, "Key": text}


def _joined(pages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the periods of all pages, each once with the groups that any page has of it."""
    periods: dict[str, dict[str, Any]] = {}
    for page in pages:
        for result in page.get("ResultsByTime", ()):
            key = "{Start} {End}".format(**result["TimePeriod"])
            known = periods.setdefault(key, {**result, "Groups": []})
            known["Groups"] += result.get("Groups", [])
            known["Estimated"] = bool(known.get("Estimated") or result.get("Estimated"))
    return [periods[key] for key in sorted(periods)]


def _cut(parts: Sequence[Mapping[str, Any]], max_bytes: int) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the parts in lists that fit into a body each (a part that does not is for the `Keep` to refuse)."""
    taken: list[Mapping[str, Any]] = []
    size = ENVELOPE_BYTES
    for part in parts:
        bytes_ = len(_json(part)) + 1
        if taken and size + bytes_ > max_bytes:
            yield taken
            taken, size = [], ENVELOPE_BYTES
        taken.append(part)
        size += bytes_
    if taken:
        yield taken


def _stamped(now: datetime, answer: Mapping[str, Any]) -> bytes:
    return _json({"known_at": now.isoformat(timespec="seconds"), "response": answer})


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")
