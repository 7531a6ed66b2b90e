"""The scope step: what spans shards. Topology, changes, correlation, ranking and proposals of one cluster or tenant.

One scope is handled in one place, over input sorted by (window, entity), and a window is looked at only when every
producer is complete up to its end: so it makes no difference in what order anything arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from engine.anomalies import anomalies_of
from engine.correlate import CorrelateConfig, Correlator
from engine.inventory import Inventory, ObjectVersion
from engine.messages import ANOMALIES, CHANGES, CONTEXT, FIXES, INCIDENTS, TOPOLOGY, Message
from engine.notice import Notice, face_in
from engine.ports import ChangeDetector, Proposer, Ranker, TopologyLearner
from engine.schemas import SCHEMAS
from engine.topology import Edge, Topology
from engine.types import Change, Fix, History, Incident, Inputs, Mark, Phase, Ranking, State
from engine.values import plain, to_json, value
from engine.watermark import Completeness


@dataclass(frozen=True, slots=True)
class ScopeConfig:
    """What the scope step needs to know.

    history_windows     windows of context kept as evidence for the ranker
    topology_memory_ms  an edge not seen for this long is forgotten
    """

    correlate: CorrelateConfig
    ranker: Ranker
    proposer: Proposer
    change_detector: ChangeDetector
    topology_learner: TopologyLearner
    shards: int = 64
    base_resolution_ms: int = 60_000
    history_windows: int = 60
    topology_memory_ms: int = 86_400_000


class _Scope:
    """Everything known of one scope."""

    def __init__(self, config: ScopeConfig, name: str, resume: State | None = None) -> None:
        self._config = config
        self._name = name
        self._correlators: dict[int, Correlator] = {}
        self._context: dict[tuple[int, int], pl.DataFrame] = {}
        self._said: dict[str, str] = {}  # what the last revision of an open incident said
        self._fixes: dict[str, Fix] = {}  # the newest revision of each fix of an open incident
        self.topology = Topology()
        self.inventory = Inventory()
        if resume:
            self._restore(resume)

    def on_window(self, resolution: int, start: int, frames: dict[str, list[pl.DataFrame]]) -> list[Message]:
        """Take one complete window; return new revisions of incidents and fixes."""
        end = start + resolution
        changes = self._learn(start, frames) if resolution == self._config.base_resolution_ms else []
        context = _stack(frames.get(CONTEXT, []), ["entity", "indicator", "form", "start_ms"])
        self._keep_context(resolution, start, context)
        scored = int(context.unique("entity")["scored"].sum()) if context is not None else 0
        strange = _stack(frames.get(ANOMALIES, []), ["entity", "indicator", "form", "start_ms"])
        anomalies = anomalies_of(strange) if strange is not None else []
        topology = self.topology if resolution == self._config.base_resolution_ms else Topology()
        correlator = self._correlator(resolution)
        touched = correlator.on_window(end, anomalies, scored, topology, changes)
        messages: list[Message] = []
        for incident in touched:
            revised = self._revise(incident, topology, resolution, end)
            correlator.commit(revised[0])
            messages += revised[1]
        return messages

    def snapshot(self) -> State:
        """Return all state."""
        return {
            "version": 1,
            "correlators": {str(res): one.snapshot() for res, one in sorted(self._correlators.items())},
            "context": [
                {"resolution_ms": res, "start_ms": start, "frame": frame}
                for (res, start), frame in sorted(self._context.items())
            ],
            "said": dict(sorted(self._said.items())),
            "fixes": [plain(fix) for _, fix in sorted(self._fixes.items())],
            "edges": [[edge.source, edge.target, edge.kind, seen] for edge, seen in self.topology.edges()],
            "objects": [
                {"key": list(key), "versions": [plain(one) for one in self.inventory.versions(key)]}
                for key in self.inventory.keys()  # noqa: SIM118  (an Inventory is no mapping)
            ],
        }

    def _restore(self, resume: State) -> None:
        self._correlators = {
            int(res): Correlator(self._config.correlate, self._name, int(res), one)
            for res, one in resume["correlators"].items()
        }
        self._context = {(one["resolution_ms"], one["start_ms"]): one["frame"] for one in resume["context"]}
        self._said = dict(resume["said"])
        self._fixes = {one["id"]: value(one, Fix) for one in resume["fixes"]}
        self.topology = Topology({Edge(*edge): seen for *edge, seen in resume["edges"]})
        versions = {tuple(one["key"]): [ObjectVersion(**v) for v in one["versions"]] for one in resume["objects"]}
        self.inventory = Inventory(versions=versions)

    def _correlator(self, resolution: int) -> Correlator:
        if resolution not in self._correlators:
            self._correlators[resolution] = Correlator(self._config.correlate, self._name, resolution)
        return self._correlators[resolution]

    def _learn(self, start: int, frames: dict[str, list[pl.DataFrame]]) -> list[Change]:
        for edges in frames.get(TOPOLOGY, []):
            for source, target, kind in edges.select("source", "target", "kind").iter_rows():
                self.topology.add(Edge(source, target, kind), start)
        by_kind: dict[str, list[pl.DataFrame]] = {}
        for frame in frames.get(CHANGES, []):
            by_kind.setdefault(str(frame["kind"][0]), []).append(frame)
        objects = _changes_of("objects", by_kind)
        for source, target, kind in self._config.topology_learner.edges_of_objects(objects):
            self.topology.add(Edge(source, target, kind), start)
        self.topology.forget(start - self._config.topology_memory_ms)
        return self._config.change_detector.changes(_changes_of("events", by_kind), objects, self.inventory)

    def _keep_context(self, resolution: int, start: int, context: pl.DataFrame | None) -> None:
        if context is not None:
            self._context[resolution, start] = context
        oldest = start - self._config.history_windows * resolution
        self._context = {
            (res, at): frame for (res, at), frame in self._context.items() if res != resolution or at > oldest
        }

    def _history(self, resolution: int, end: int) -> History:
        frames = [
            frame for (res, _), frame in sorted(self._context.items(), key=lambda one: one[0]) if res == resolution
        ]
        frame = pl.concat(frames).sort("entity", "indicator", "start_ms")
        return History(self._name, resolution, end - self._config.history_windows * resolution, end, frame)

    def _revise(
        self, incident: Incident, topology: Topology, resolution: int, end: int
    ) -> tuple[Incident, list[Message]]:
        if incident.phase is Phase.OPEN:
            ranking = self._config.ranker.rank(incident, topology, self._history(resolution, end))
            incident = replace(incident, ranking=ranking, title=title_of(incident, ranking))
        says = _gist(incident)
        before = self._said.get(incident.id)
        if before == says:
            return incident, []
        self._said[incident.id] = says
        incident = replace(incident, revision=incident.revision + 1)
        proposed = self._propose(incident, end) if incident.phase is Phase.OPEN else []
        fixes = tuple(fix for _, fix in sorted(self._fixes.items()) if fix.incident_id == incident.id)
        if incident.phase is Phase.RESOLVED:
            del self._said[incident.id]
            self._forget_fixes(incident)
        notice = Notice(fixes, face_in(before) if before is not None else None)
        key = f"{incident.id}/{incident.revision}"
        return incident, [Message(INCIDENTS, key, incident, scope=self._name, notice=notice), *proposed]

    def _propose(self, incident: Incident, end: int) -> list[Message]:
        offered = {
            fix.id: fix for fix in self._config.proposer.propose(incident, incident.ranking, self.inventory, end)
        }
        stale = {
            fix.id: replace(fix, expires_ms=end)
            for fix in self._fixes.values()
            if fix.incident_id == incident.id and fix.id not in offered and fix.expires_ms > end
        }
        messages: list[Message] = []
        # a fix for what is no longer thought to be the cause ends now; what has not changed is not said again
        for name, fix in sorted({**offered, **stale}.items()):
            known = self._fixes.get(name)
            if known is None or replace(known, revision=0) != replace(fix, revision=0):
                self._fixes[name] = replace(fix, revision=incident.revision)
                messages.append(Message(FIXES, f"{name}/{incident.revision}", self._fixes[name], scope=self._name))
        return messages

    def _forget_fixes(self, incident: Incident) -> None:
        self._fixes = {name: fix for name, fix in self._fixes.items() if fix.incident_id != incident.id}


class ScopeStep:
    """Runs the scopes it owns (all of them, or those that hash to a Kafka partition)."""

    def __init__(self, config: ScopeConfig, resume: State | None = None) -> None:
        self._config = config
        self._scopes: dict[str, _Scope] = {}
        self._declared: tuple[str, ...] = ()
        self._complete: dict[int, Completeness] = {}
        self._closed: dict[int, int] = {}
        self._open: dict[tuple[int, int], dict[str, dict[tuple[str, str], pl.DataFrame]]] = {}
        if resume:
            self._declared = tuple(resume["declared"])
            self._scopes = {name: _Scope(config, name, one) for name, one in resume["scopes"].items()}
            self._complete = {int(res): Completeness(one) for res, one in resume["complete"].items()}
            self._closed = {int(res): closed for res, closed in resume["closed"].items()}
            for one in resume["open"]:
                window = self._open.setdefault((one["resolution_ms"], one["start_ms"]), {})
                window.setdefault(one["scope"], {})[one["stream"], one["key"]] = one["frame"]

    def on_message(self, message: Message) -> list[Message]:
        """Take a frame of any stream, a mark or the declared inputs; return new revisions of incidents and fixes."""
        payload = message.payload
        if isinstance(payload, pl.DataFrame):
            self._take(message, payload)
            return []
        if isinstance(payload, Inputs):
            self._take_inputs(payload)
        elif isinstance(payload, Mark):
            complete = self._complete.setdefault(payload.resolution_ms, Completeness())
            complete.advance([f"{message.stream}:{one}" for one in payload.producers], payload.watermark_ms)
        return [out for resolution in sorted(self._complete) for out in self._advance(resolution)]

    def snapshot(self) -> State:
        """Return all state."""
        return {
            "version": 1,
            "declared": list(self._declared),
            "scopes": {name: one.snapshot() for name, one in sorted(self._scopes.items())},
            "complete": {str(res): one.snapshot() for res, one in sorted(self._complete.items())},
            "closed": {str(res): closed for res, closed in sorted(self._closed.items())},
            "open": [
                {"resolution_ms": res, "start_ms": start, "scope": scope, "stream": stream, "key": key, "frame": frame}
                for (res, start), scopes in sorted(self._open.items())
                for scope, frames in sorted(scopes.items())
                for (stream, key), frame in sorted(frames.items(), key=lambda item: item[0])
            ],
        }

    def _take(self, message: Message, frame: pl.DataFrame) -> None:
        # what was scored names the window in which it became known, which for cost is not that which it is about
        start = int(frame["window_ms" if "window_ms" in frame.columns else "start_ms"][0])
        resolution = (
            int(frame["resolution_ms"][0]) if "resolution_ms" in frame.columns else self._config.base_resolution_ms
        )
        if start + resolution > self._closed.get(resolution, 0):
            window = self._open.setdefault((resolution, start), {})
            window.setdefault(message.scope, {})[message.stream, message.key] = frame

    def _take_inputs(self, inputs: Inputs) -> None:
        self._declared = tuple(sorted({*self._declared, *inputs.scopes}))
        for name, resolution in inputs.inputs.items():
            complete = self._complete.setdefault(resolution, Completeness())
            complete.await_producers([f"{CHANGES}:{name}"])
            for stream in (ANOMALIES, CONTEXT):
                complete.await_producers(f"{stream}:detect/{shard}" for shard in range(self._config.shards))
            if resolution == self._config.base_resolution_ms:
                complete.await_producers(f"{TOPOLOGY}:join/{shard}" for shard in range(self._config.shards))

    def _advance(self, resolution: int) -> list[Message]:
        complete = self._complete[resolution].complete_up_to()
        if complete is None or complete <= self._closed.get(resolution, 0):
            return []
        messages: list[Message] = []
        ready = sorted(start for res, start in self._open if res == resolution and start + res <= complete)
        for start in ready:
            frames = self._open.pop((resolution, start))
            # a scope that says nothing grows quiet like any other
            for scope in sorted({*frames, *self._scopes}):
                messages += self._on_window(scope, resolution, start, frames.get(scope, {}))
        self._closed[resolution] = complete
        return messages

    def _on_window(
        self, scope: str, resolution: int, start: int, frames: dict[tuple[str, str], pl.DataFrame]
    ) -> list[Message]:
        if scope not in self._scopes:
            self._scopes[scope] = _Scope(self._config, scope)
        by_stream: dict[str, list[pl.DataFrame]] = {}
        for (stream, _), frame in sorted(frames.items(), key=lambda item: item[0]):
            by_stream.setdefault(stream, []).append(frame)
        return self._scopes[scope].on_window(resolution, start, by_stream)


def title_of(incident: Incident, ranking: Ranking) -> str:
    """Return what an incident is called: the cause if one is named, else the symptom."""
    worst = min(incident.anomalies, key=lambda one: (one.tail_p, one.start_ms, one.entity, one.indicator))
    symptom = f"{worst.indicator} of {_short(worst.entity)}"
    return f"{_short(ranking.causes[0].entity)}: likely cause of {symptom}" if ranking.causes else symptom


def _short(entity: str) -> str:
    return entity.rpartition("/")[2]


def _gist(incident: Incident) -> str:
    """Return what an operator would call news: phase, severity, who is affected, what changed, the first cause."""
    top = [cause.entity for cause in incident.ranking.causes[:1]]
    gist = [incident.phase, incident.severity, incident.entities, [one.id for one in incident.changes], top]
    return to_json([*gist, incident.ranking.abstained]).decode()


def _stack(frames: Sequence[pl.DataFrame], by: list[str]) -> pl.DataFrame | None:
    return pl.concat(frames).sort(by) if frames else None


def _changes_of(kind: str, by_kind: dict[str, list[pl.DataFrame]]) -> pl.DataFrame:
    schema = SCHEMAS[kind]  # type: ignore[index]
    if kind not in by_kind:
        return schema.to_frame()
    return pl.concat(by_kind[kind]).sort("ts_ms", "input", "offset", maintain_order=True).select(schema.names())
