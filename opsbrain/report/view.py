"""What the page shows, as plain data: built from an export, from a store, or by hand in a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from engine.types import Fix, Floats, Incident, Ints
from opsbrain.sources import Source

SeriesKey = tuple[str, str]
"""(entity, indicator)"""

ALL_AS_EXPECTED: Final = ("No incident", "Everything stayed within what was expected.")


@dataclass(frozen=True, slots=True)
class Plotted:
    """One series with its expected band; arrays are (N,), by time, NaN where a number is missing.

    start_ms    start of each window
    value       what was seen
    lo, hi      the band in which it was expected
    form        how to read the numbers, as in `engine.types.Series`
    """

    start_ms: Ints
    value: Floats
    lo: Floats
    hi: Floats
    form: str = "gauge"


@dataclass(frozen=True, slots=True)
class Told:
    """One notification: to whom, about what, and how it went. `signature` is the receiver's word, where we know it."""

    notifier: str
    incident_id: str
    kind: str
    state: str
    attempts: int
    answer: str
    signature: str = ""


@dataclass(frozen=True, slots=True)
class ReportView:
    """Everything on the page.

    title           what was looked at
    subtitle        one more line about it
    from_ms, until_ms
                    the time it covers; 0, 0 means from the first incident to the last
    incidents       the newest revision of each
    fixes           the newest revision of each
    series          evidence by (entity, indicator); what is missing is not plotted
    notifications   deliveries, in order
    standings       where fixes stand by id ("approved", ...); "proposed" if absent
    decided_by      who decided about a fix last, by the fix's id
    counts          figures for the head of the page, in order
    link            how an incident is linked, with `{id}`; "#{id}" stays on the page
    refresh_s       let the browser load the page again after so many seconds; 0 for never
    calm            what is said, in a heading and a sentence, where there is no incident
    origin          what the page was made from
    sources         where the rows of each input went; those that never said anything are not shown
    """

    title: str
    subtitle: str = ""
    from_ms: int = 0
    until_ms: int = 0
    incidents: Sequence[Incident] = ()
    fixes: Sequence[Fix] = ()
    series: Mapping[SeriesKey, Plotted] = field(default_factory=dict)
    notifications: Sequence[Told] = ()
    standings: Mapping[str, str] = field(default_factory=dict)
    decided_by: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int | str] = field(default_factory=dict)
    link: str = "#{id}"
    refresh_s: int = 0
    calm: tuple[str, str] = ALL_AS_EXPECTED
    origin: str = "recorded telemetry"
    sources: Sequence[Source] = ()
