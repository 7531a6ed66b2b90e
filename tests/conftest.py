"""What all tests share: where the public data lie, and which optional parts must not be missing.

A test that needs an optional part (a broker, torch, prophet) carries the part's name as a marker. Where the part is
absent the test is skipped and says why, except where ``OPSBRAIN_REQUIRE`` names it (as CI does with all of them): there
a skip would hide a part that was never tried, so the test fails instead.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
# Programs of others that deploy/parts/build.sh builds or looks for; a whole control plane is several of them.
PROGRAMS = ("prometheus2", "prometheus3", "collector", "alertmanager", "rsyslog", "kcat")
PARTS = ("kafka", "torch", "prophet", "cluster", *PROGRAMS)

# No deadline: a busy machine is not a failing property. In CI the examples are the same every time.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def required() -> frozenset[str]:
    """Return the parts named in ``OPSBRAIN_REQUIRE``, whose tests may not be skipped."""
    return frozenset(part.strip() for part in os.environ.get("OPSBRAIN_REQUIRE", "").split(",") if part.strip())


def require(part: str, reason: str) -> NoReturn:
    """Skip this test because ``part`` is missing for ``reason``; fail it where the part is required."""
    if part in required():
        pytest.fail(f"{part} is required here (OPSBRAIN_REQUIRE) and missing: {reason}", pytrace=False)
    pytest.skip(f"{part}: {reason}")


def missing(part: str) -> str | None:
    """Say why ``part`` (one of `PARTS`) cannot be used on this machine; None when it can."""
    if part == "kafka":
        return None if os.environ.get("OPSBRAIN_KAFKA") else no_broker()
    if part == "cluster":
        return refusal("deploy/cluster/run.sh", "check")
    if part in PROGRAMS:
        return refusal("deploy/parts/build.sh", "check", part)
    if importlib.util.find_spec(part) is None:
        return f"not installed (pip install 'opsbrain[{'lstm' if part == 'torch' else part}]')"
    return None


@functools.cache
def no_broker() -> str | None:
    """Say why no broker of our own can be started here; None when one can."""
    why = refusal("deploy/kafka/run.sh", "check")
    return None if why is None else f"{why} (or name a broker in OPSBRAIN_KAFKA)"


@functools.cache
def refusal(script: str, *arguments: str) -> str | None:
    """Run a script of ours that checks this machine, and return what it has against it; None when nothing."""
    check = subprocess.run([ROOT / script, *arguments], capture_output=True, text=True, check=False)
    return None if check.returncode == 0 else check.stderr.strip()


def dataset(name: str) -> Path:
    """Return the folder or file ``name`` of the public data; skip the test where the data are not at hand."""
    base = Path(os.environ.get("OPSBRAIN_DATA", ROOT.parent / "shared" / "datasets"))
    if not (base / name).exists():
        pytest.skip(f"public data set {name!r} is not here; OPSBRAIN_DATA names the folder that holds it")
    return base / name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together what shares a broker, a control plane or a module's fixtures, where tests run side by side."""
    for item in items:
        folder = item.path.relative_to(ROOT).parts[1]
        shared = {"kafka": "kafka", "parts": "parts", "deploy": "parts"}.get(folder, str(item.path))
        item.add_marker(pytest.mark.xdist_group(shared))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for part in PARTS:
        if item.get_closest_marker(part) is not None and (reason := missing(part)) is not None:
            require(part, reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip of a required part into a failure, whichever way the test skipped itself."""
    report = yield
    parts = sorted(part for part in required() if item.get_closest_marker(part) is not None)
    if report.skipped and parts and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, although {', '.join(parts)} is required here (OPSBRAIN_REQUIRE): {report.longrepr}"
    return report


def pytest_sessionstart(session: pytest.Session) -> None:
    """Stop at once where a required part is missing, so that a whole file that skips itself cannot hide it."""
    reasons = [f"{part}: {reason}" for part in sorted(required()) if (reason := missing(part)) is not None]
    if reasons:
        pytest.exit("required by OPSBRAIN_REQUIRE, but " + "; ".join(reasons), returncode=1)
