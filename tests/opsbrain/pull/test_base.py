"""The thread that polls: failures are told once each and tried again later, a stop is prompt."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from engine.errors import ConfigError, Retryable, SourceError, StateMismatch
from opsbrain.pull import pullers_of
from opsbrain.pull.base import PullThread
from opsbrain.pull.state import StateFile
from opsbrain.settings import CostExplorer, ObjectStorage, Pull, Settings
from opsbrain.settings_load import load_settings
from tests.opsbrain.pull.aws_double import Kept


class Scripted:
    """A puller that does what a list says."""

    name = "scripted"
    next_in_s = 60.0

    def __init__(self, *script: Exception | None) -> None:
        self.script = list(script)
        self.polled = threading.Event()
        self.closed = threading.Event()
        self.waits: Callable[[], None] = lambda: None

    def poll(self, now_ms: int) -> None:
        self.polled.set()
        self.waits()
        error = self.script.pop(0) if self.script else None
        if error is not None:
            raise error

    def close(self) -> None:
        self.closed.set()


def test_failures_are_told_once_each_and_tried_again_later(caplog: pytest.LogCaptureFixture) -> None:
    broken = SourceError("cannot list s3://b/p: AccessDenied")
    thread = PullThread(Scripted(broken, broken, Retryable("full", 7.0), broken, None, broken), lambda: 0)
    with caplog.at_level(logging.WARNING):
        waits = [thread.step() for _ in range(6)]
    assert waits == [5.0, 10.0, 7.0, 20.0, 60.0, 5.0]
    assert len(caplog.records) == 5
    assert caplog.messages[0] == "scripted: cannot list s3://b/p: AccessDenied; tried again in 5 s"


def test_a_stop_is_prompt_even_in_the_middle_of_a_poll() -> None:
    puller = Scripted()
    puller.waits = lambda: None if puller.closed.wait(30) else pytest.fail("was not closed")
    thread = PullThread(puller, lambda: 0)
    thread.start()
    assert puller.polled.wait(10)
    thread.stop(10)
    assert not thread._thread.is_alive()


def test_what_is_remembered_is_private_whole_and_replaced(tmp_path: Path) -> None:
    class Seen(msgspec.Struct):
        at: int = 0

    file = StateFile(tmp_path / "pull", "cost/explorer", Seen)
    assert file.load() is None
    file.save(Seen(1))
    file.save(Seen(2))
    assert file.load() == Seen(2)
    assert file.path == tmp_path / "pull" / "cost_explorer.json"
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in file.path.parent.iterdir()] == ["cost_explorer.json"]
    file.path.write_bytes(b'{"at":')
    with pytest.raises(StateMismatch, match="delete it"):
        file.load()


def test_pullers_of_settings(tmp_path: Path) -> None:
    logs = ObjectStorage(name="logs", url="s3://logs/x/", format="fluentbit")
    settings = Settings(pull=Pull(object_storage=(logs,), cost_explorer=CostExplorer(enabled=True)))
    names = [one.name for one in pullers_of(settings, Kept(), tmp_path)]
    assert names[:2] == ["pull.object_storage logs", "pull.cost_explorer"]
    assert not list(tmp_path.iterdir())
    wrong = Settings(pull=Pull(object_storage=(ObjectStorage(name="x", url="s3://x", format="fluent"),)))
    with pytest.raises(ConfigError, match="format 'fluent' is not known"):
        pullers_of(wrong, Kept(), tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[[pull.object_storage]]\nname="a"\nurl="https://x"\nformat="focus"', "of the form s3://"),
        ('[[pull.object_storage]]\nname=""\nurl="s3://x"\nformat="focus"', "given and unique"),
        ('[pull.cost_explorer]\ngroup_by=["A","B","C"]', "at most two"),
        ('[pull.cost_explorer]\nmetrics=["Cost"]', "unknown value 'Cost'"),
        ("[pull.cost_explorer]\nhour_utc=24", "out of range"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "opsbrain.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        load_settings(file, {})
