"""The thread that polls: failures are told once each and tried again later, a stop is prompt."""

import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from engine.errors import ConfigError, Retryable, SourceError, StateMismatch
from opsbrain.cli import main
from opsbrain.pull import pullers_of
from opsbrain.pull.base import PullThread
from opsbrain.pull.state import StateFile
from opsbrain.receiving import Receiving
from opsbrain.service import Service
from opsbrain.settings import CostExplorer, Http, ObjectStorage, Pull, Receivers, Settings, Store
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


def test_what_others_have_written_cannot_steer_the_log(caplog: pytest.LogCaptureFixture) -> None:
    thread = PullThread(Scripted(SourceError("cannot read s3://b/a\n\x1b[2Jb")), lambda: 0)
    with caplog.at_level(logging.WARNING):
        thread.step()
    assert caplog.messages == ["scripted: cannot read s3://b/a [2Jb; tried again in 5 s"]


def died() -> PullThread:
    """Return a thread that ended by an error which nobody expects of a puller."""
    thread = PullThread(Scripted(TypeError("a mistake")), lambda: 0)
    thread.check()  # not started yet
    thread.start()
    thread._thread.join(10)
    thread.start = lambda: None  # type: ignore[method-assign]
    return thread


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_ends_what_depends_on_it(tmp_path: Path) -> None:
    says = "scripted stopped by itself; its log says why"
    with pytest.raises(SourceError, match=says):
        died().check()
    settings = Settings(store=Store(folder=tmp_path), http=Http(port=0), receivers=Receivers(grpc_port=0))
    with Service(settings) as service:
        service._pulls.append(died())
        with pytest.raises(SourceError, match=says):
            service.run()
    nothing = SimpleNamespace(start=bool, check=bool, stop=bool, say=bool)
    with pytest.raises(SourceError, match=says):
        receiving = SimpleNamespace(_servers=nothing, _tally=nothing, _watch=nothing, _pulls=[died()])
        Receiving.run(receiving, threading.Event())  # type: ignore[arg-type]


def test_a_thread_that_was_stopped_has_not_died() -> None:
    thread = PullThread(Scripted(), lambda: 0)
    thread.start()
    thread.check()
    thread.stop(10)
    thread.check()


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


STORED = 'pull.object_storage=[{name="a",url="s3://b/x",format="focus"},{name="%s",url="%s",format="focus"%s}]'


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        (STORED % ("b", "https://x", ""), "object_storage[1].url: must be of the form s3://"),
        (STORED % ("b", "s3:///x", ""), "object_storage[1].url: must be of the form s3://"),
        (STORED % ("b", "s3://a bucket/x", ""), "object_storage[1].url: must be of the form s3://"),
        (STORED % ("", "s3://x", ""), "object_storage[1].name: must be given and unique"),
        (STORED % ("a", "s3://x", ""), "object_storage[1].name: must be given and unique"),
        (STORED % ("b", "s3://x", ',endpoint_url="minio"'), "object_storage[1].endpoint_url: must begin with http"),
        ('pull.cost_explorer.group_by=["A","B","C"]', "cost_explorer.group_by: AWS groups by at most two"),
        ('pull.cost_explorer.metrics=["Cost"]', "cost_explorer.metrics: unknown value 'Cost'"),
        ("pull.cost_explorer.metrics=[]", "cost_explorer.metrics: name at least one"),
        ("pull.cost_explorer.hour_utc=24", "cost_explorer.hour_utc: 24 is out of range"),
        ("pull.cost_explorer.endpoint_url=ftp://x", "cost_explorer.endpoint_url: must begin with http"),
        ('pull.kubernetes.namespaces=["a","a"]', "kubernetes.namespaces: names a namespace twice"),
        ('pull.kubernetes.namespaces=[""]', "kubernetes.namespaces: '' is no name of a namespace"),
        ('pull.kubernetes.namespaces=["a b"]', "kubernetes.namespaces: 'a b' is no name of a namespace"),
        ("pull.prometheus.matchers=[]", "prometheus.matchers: name at least one"),
        ('pull.prometheus.matchers=["up"," "]', "prometheus.matchers: name at least one"),
        *((f"pull.prometheus.hours={hours}", "prometheus.hours: ") for hours in ("inf", "nan", "1e12", "0", "8761")),
    ],
)
def test_wrong_settings_are_refused(flag: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"pull.{reason}")) as caught:
        load_settings(None, {}, [flag])
    assert str(caught.value).isprintable()


NO_ADDRESSES = (
    *("x", "x:9090", "ftp://x", "http:x", "http://", "http:///x", "http://[bad", "http://[bad]", "http://x:99999"),
    *("http://x:0", "http://a b", "http://x\n", "http://..", "http://u@"),
)
ADDRESSES = (
    "http://x",
    "https://x:9090/prefix/",
    "http://[::1]:9090",
    "HTTP://user:word@h.example.",
    "http://b\u00fccher",
)


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"pull\.prometheus\.url: must begin with http"):
        load_settings(None, {}, [f"pull.prometheus.url={url}"])


@pytest.mark.parametrize("url", ADDRESSES)
def test_addresses_are_taken(url: str) -> None:
    assert load_settings(None, {}, [f"pull.prometheus.url={url}"]).pull.prometheus.url == url


def test_two_names_of_object_storage_are_two_files() -> None:
    """Both would remember in one file how far they were read."""
    for one, other, reason in (("a b", "a_b", "unique"), ("a/b", "a b", "unique")):
        flag = (STORED % (other, "s3://x", "")).replace('name="a"', f'name="{one}"')
        with pytest.raises(ConfigError, match=reason):
            load_settings(None, {}, [flag])
    assert len(load_settings(None, {}, [STORED % ("a-b", "s3://x", "")]).pull.object_storage) == 2


@pytest.mark.parametrize(("command"), ["up", "receive", "doctor"])
def test_every_command_refuses_them_with_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--set", "pull.prometheus.url=x"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
