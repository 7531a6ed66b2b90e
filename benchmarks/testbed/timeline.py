"""When what happens in a recording: an exchange of a healthy service first, then the release that goes wrong."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deployment:
    """One service gets another version, so many seconds after the start."""

    at_s: float
    service: str
    version: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """The plan of one recording: the harmless deployment, the harmful one, and the end, in seconds."""

    harmless: Deployment
    fault: Deployment
    end_s: float


def checkout_lock(end_s: float) -> Timeline:
    """Return the plan of `checkout-lock`, stretched to a length: harmless at 40 %, the fault at 67 % of it."""
    return Timeline(
        harmless=Deployment(0.40 * end_s, "inventory", "2.3.1"),
        fault=Deployment(0.67 * end_s, "payments", "1.5.0"),
        end_s=end_s,
    )
