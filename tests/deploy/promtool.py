"""Prometheus's own tool for rules and configurations, which Debian ships with Prometheus 2.42."""

from __future__ import annotations

import subprocess
from pathlib import Path


def promtool(*arguments: str, folder: Path) -> str:
    """Run promtool in ``folder`` and return what it says; it must have nothing against what it was given."""
    done = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
