"""A long-running command that is asked to stop while it loads ends in order."""

import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys
sys.argv = ["opsbrain", {command!r}]
import opsbrain.early_stop
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize(("command", "status"), [("worker", 0), ("up", 0), ("receive", 0), ("replay", -15)])
def test_asked_to_stop_while_it_loads(command: str, status: int) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(command=command)], check=False, timeout=30)
    assert done.returncode == status
