"""What `opsbrain doctor` looks at: each check says what it found, and what to do if that is not good."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from engine.errors import OpsBrainError, SourceError
from opsbrain import __version__
from opsbrain.finding import Finding
from opsbrain.kafka_checkup import check_kafka
from opsbrain.output import counted
from opsbrain.reaching import check_receivers
from opsbrain.settings import Detectors, Settings

_TEMPORARY_MB: Final = 64
_LEAST_MB: Final = 32  # below it a database cannot even write what it would take to make room
_EXTRAS: Final = {"torch": ("lstm", "the LSTM forecaster"), "prophet": ("prophet", "the Prophet forecaster")}


def check_up(settings: Settings) -> list[Finding]:
    """Return a finding for each check; what `up`, `replay` or `worker` would refuse to start with fails one of them."""
    detectors = _try("detectors", lambda: _detectors(settings))
    # a detector that is refused is said once, and does not hide what else the engine would refuse
    rest = settings if detectors.outcome == "ok" else replace(settings, detectors=Detectors())
    return [
        Finding("opsbrain", "ok", f"{__version__} on Python {platform.python_version()}, {sys.platform}"),
        *_extras(settings),
        detectors,
        _try("engine", lambda: _engine(rest)),
        _try("identity", lambda: _identity(settings)),
        _try("notify", lambda: _notifiers(settings)),
        _try("http", lambda: _http(settings)),
        _try("pull", lambda: _pulls(settings)),
        *check_receivers(settings.notify),
        _try("store.folder", lambda: _store(settings.store.folder)),
        _room("room of store.folder", settings.store.folder, 2 * settings.store.journal_mb),
        _room("room for temporary files", Path(tempfile.gettempdir()), _TEMPORARY_MB),
        *_worker(settings),
        *check_kafka(settings),
    ]


def _try(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "ok", check())
    except OpsBrainError as error:
        return Finding(name, "failed", str(error))


def _extras(settings: Settings) -> Iterator[Finding]:
    for module, (extra, what) in _EXTRAS.items():
        if importlib.util.find_spec(module) is not None:
            yield Finding(f"extra {extra}", "ok", f"{what} can run")
        elif extra in settings.detectors.enabled:
            yield Finding(f"extra {extra}", "failed", f"detectors.enabled names it: pip install 'opsbrain[{extra}]'")
        else:
            yield Finding(f"extra {extra}", "note", f"not installed; only {what} needs it")


def _detectors(settings: Settings) -> str:
    from detectors.registry import build

    for name in settings.detectors.enabled:
        build(name, settings.detectors.options.get(name, {}))
    return f"{', '.join(settings.detectors.enabled) or 'none'} enabled"


def _notifiers(settings: Settings) -> str:
    from opsbrain.notify.registry import build_notifiers

    names = [one.name for one in build_notifiers(settings.notify)]
    return f"{', '.join(names)} will be told" if names else "nobody will be told"


def _engine(settings: Settings) -> str:
    from opsbrain.wiring import engine_config, scrubber_of

    engine_config(settings)
    scrubber_of(settings)
    return "pipeline, ranker, policy and scrubbing take their settings"


def _identity(settings: Settings) -> str:
    from opsbrain.service import identity_of

    identity = identity_of(settings)
    return f"scope {identity.scope}, {counted(len(identity.overrides), 'override')}"


def _http(settings: Settings) -> str:
    from opsbrain.access import CONSOLE, INGEST
    from opsbrain.doors import rules_of
    from opsbrain.http_guard import access_of
    from opsbrain.listening import listening
    from opsbrain.service import check_journal_room

    http, access = settings.http, access_of(settings.http, settings.receivers)
    asked = [door for door in (CONSOLE, INGEST) if access.needs_token(door)]
    guarded = "a token is asked for" if asked else "open to this machine, without a token"
    check_journal_room(settings)
    rules_of(http, access)
    listening(http.host, http.port).close()
    if http.port and (port := settings.receivers.grpc_port):
        listening(http.host, port, "receivers.grpc_port (0: off)").close()
    return f"{http.host}:{http.port} is free; {guarded}"


def _worker(settings: Settings) -> Iterator[Finding]:
    """Yield what is found of a worker's own settings, where there is a broker to work on."""
    if not settings.kafka.bootstrap:
        return
    wanted, has = settings.worker.memory_limit_mb, memory_mb()
    if has and wanted > has:
        yield Finding(
            "worker.memory_limit_mb",
            "warning",
            f"{wanted:,} MB, and {has:,} are here: it would be killed before it stops reading; lower it",
        )
    if settings.worker.listen:
        yield _try("worker.listen", lambda: _figures(settings))


def _figures(settings: Settings) -> str:
    """Say where a worker would serve its figures; a port that is taken stops none."""
    from opsbrain.listening import listening
    from opsbrain.operating import KEY, place_of

    host, port, _ = place_of(settings)
    listening(host, 0, KEY).close()
    try:
        listening(host, port, KEY).close()
    except SourceError:
        return f"{settings.worker.listen} is in use, by a worker perhaps: the next one takes a free port"
    return f"{settings.worker.listen} is free"


def memory_mb() -> int:
    """Return the memory that this machine, or this container, has; 0 when it does not say."""
    try:
        has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        has = min(has, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return has >> 20


def _pulls(settings: Settings) -> str:
    """Build what pulls, which asks nobody and writes nothing."""
    from opsbrain.keep import JournalKeep
    from opsbrain.pull import backfill_of, pullers_of

    nowhere = JournalKeep({}, lambda: 0)
    names = [one.name for one in pullers_of(settings, nowhere, settings.store.folder)]
    backfill = backfill_of(settings, nowhere, settings.store.folder, 0)
    names += [backfill.name] if backfill is not None else []
    return f"{', '.join(names)} will be fetched" if names else "nothing will be fetched"


def _store(folder: Path) -> str:
    """Say whether the folder can be had: written to, used by nobody else, and of this version; changes nothing."""
    from opsbrain.folder_lock import LOCK, lock_folder
    from opsbrain.store import FILE_NAME, Store

    told = _writable(folder)
    if (folder / LOCK).exists():
        os.close(lock_folder(folder, who="`opsbrain` process", remedy="set store.folder"))
    if (folder / FILE_NAME).exists():
        Store(folder, create=False).close()
    return told


def _room(name: str, folder: Path, wanted_mb: int) -> Finding:
    """Say how much room there is; `wanted_mb` is what we may come to need."""
    try:
        existing = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        free_mb = shutil.disk_usage(existing).free >> 20
    except OSError as error:
        return Finding(name, "failed", f"{folder}: {error.strerror}")
    text = f"{free_mb:,} MB are free at {existing}"
    if free_mb >= wanted_mb:
        return Finding(name, "ok", text)
    return Finding(name, "failed" if free_mb < _LEAST_MB else "warning", f"{text}, {wanted_mb:,} are wanted; make room")


def _writable(folder: Path) -> str:
    try:
        existing = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise SourceError(f"{folder}: cannot be written: {error.strerror}; change it or set store.folder") from error
    return f"{folder} can be written" if existing == folder.absolute() else f"{folder} will be made"
