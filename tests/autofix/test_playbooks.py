"""Playbooks: every one keeps the contract on the bundled situations, and each check refuses its bug."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from autofix import checks, examples
from autofix.examples import EXAMPLES, ONSET_MS, SERVICE, anomaly, deployment, inventory_of, key_of, situation_of
from autofix.patch import edit, parse_manifest, parse_operations, patch_action, resolve
from autofix.playbooks.cordon_node import CordonNode
from autofix.playbooks.raise_memory_limit import RaiseMemoryLimit
from autofix.playbooks.restart_stuck_workload import RestartStuckWorkload
from autofix.playbooks.restore_configmap import RestoreConfigMap
from autofix.playbooks.rollback_deployment import RollbackDeployment
from autofix.playbooks.scale_out import ScaleOut
from autofix.registry import PLAYBOOKS, playbook
from autofix.sandbox import ShadowSandbox
from autofix.situation import Declined, Draft
from engine.errors import ConfigError
from engine.inventory import Inventory
from engine.types import Change, Risk

SITUATIONS = [make() for make in EXAMPLES]
EARLY = ONSET_MS - 3_600_000


@pytest.mark.parametrize("check", checks.CHECKS, ids=str)
@pytest.mark.parametrize("one", PLAYBOOKS, ids=lambda one: one.name)
def test_every_playbook_passes_every_check(one, check):
    assert checks.CHECKS[check](one, SITUATIONS) == []


@pytest.mark.parametrize("make", EXAMPLES, ids=lambda make: make.__name__)
def test_every_example_has_a_remedy(make):
    assert any(isinstance(one.propose(make()), Draft) for one in PLAYBOOKS)


def test_an_unknown_playbook_is_named_in_the_error():
    with pytest.raises(ConfigError, match="no playbook 'reboot'"):
        playbook("reboot")


# Each check refuses its bug.


@dataclass(frozen=True)
class Buggy:
    """A good playbook with one bug put in: `spoil` changes its draft."""

    spoil: object
    base: object = RollbackDeployment()
    name: str = "rollback_deployment"

    def propose(self, situation):
        result = self.base.propose(situation)
        return self.spoil(situation, result) if isinstance(result, Draft) else result


def _only_writes(situation, draft):
    writes = [
        patch_action(
            (one.api_version, one.kind, one.namespace, one.name),
            [operation for operation in parse_operations(one.body) if operation["op"] != "test"],
        )
        for one in draft.actions
    ]
    return replace(draft, actions=tuple(writes))


def _wrong_type(situation, draft):
    key = key_of(deployment())
    before = parse_manifest(situation.inventory.newest(key).manifest)
    action, undo = edit(key, before, {**before, "spec": {**before["spec"], "replicas": "many"}})
    return replace(draft, actions=(action,), undo=(undo,))


def _half_undo(situation, draft):
    one = draft.undo[0]
    tests = [operation for operation in parse_operations(one.body) if operation["op"] == "test"]
    return replace(draft, undo=(patch_action((one.api_version, one.kind, one.namespace, one.name), tests),))


class Forgetful:
    name = "forgetful"

    def __init__(self):
        self.asked = 0

    def propose(self, situation):
        self.asked += 1
        return Declined(self.name, f"asked {self.asked} times")


@dataclass(frozen=True)
class Meddler:
    name: str = "meddler"

    def propose(self, situation):
        situation.inventory.add(("v1", "Node", "", "x"), examples.version_of(examples.node("x"), SERVICE, 1))
        return Declined(self.name, "done")


@dataclass(frozen=True)
class Eager:
    """Acts whatever it is told."""

    reason: str = "because"
    name: str = "rollback_deployment"

    def propose(self, situation):
        return RollbackDeployment().propose(examples.bad_deployment())


@dataclass(frozen=True)
class Silent:
    name: str = "rollback_deployment"

    def propose(self, situation):
        result = RollbackDeployment().propose(situation)
        return result if isinstance(result, Draft) else Declined(self.name, " ")


@dataclass(frozen=True)
class Never:
    name: str = "never"

    def propose(self, situation):
        return Declined(self.name, "no")


def test_the_check_that_something_is_offered_refuses_a_playbook_that_never_does():
    assert checks.check_offers(Never(), SITUATIONS)


@pytest.mark.parametrize(("spoil", "check"), [(_wrong_type, "valid"), (_half_undo, "undo exact")])
def test_the_check_of_proof_refuses(spoil, check):
    assert any(text.startswith(check) for text in checks.check_proven(Buggy(spoil), SITUATIONS))


def test_the_check_of_guards_refuses_a_patch_without_tests():
    assert checks.check_guarded(Buggy(_only_writes), SITUATIONS)


def test_the_check_of_facts_refuses_acting_on_none_and_declining_without_a_reason():
    assert "it acts without objects" in checks.check_declines_without_facts(Eager(), SITUATIONS)
    assert "it declines without a reason without objects" in checks.check_declines_without_facts(Silent(), SITUATIONS)


def test_the_check_of_purity_refuses_memory_and_meddling():
    assert "it answers differently when asked twice" in checks.check_pure(Forgetful(), SITUATIONS)
    assert "it changes the inventory" in checks.check_pure(Meddler(), [examples.bad_deployment()])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rationale": "trust me"}, "the rationale names none of the evidence"),
        ({"blast_radius": ()}, "the blast radius leaves out the entity itself"),
        ({"title": ""}, "the draft has no title"),
        ({"playbook": "other"}, "the draft says it comes from 'other'"),
    ],
)
def test_the_check_of_explanations_refuses(change, complaint):
    assert complaint in checks.check_explains(Buggy(lambda _, draft: replace(draft, **change)), SITUATIONS)


def test_the_check_of_bystanders_refuses_acting_on_one():
    assert checks.check_other_entities_left_alone(Eager(), SITUATIONS)


# What each playbook declines, and why.


def _reason(result):
    assert isinstance(result, Declined), result
    return result.reason


def test_rollback_restores_exactly_the_template_before():
    situation = examples.bad_deployment()
    draft = RollbackDeployment().propose(situation)
    with ShadowSandbox(situation.inventory) as sandbox:
        sandbox.apply(draft.actions)
        after = parse_manifest(sandbox.observe()[key_of(deployment())])
    assert after == deployment()


def test_rollback_declines_an_old_deployment():
    situation = examples.bad_deployment()
    old = replace(situation.incident.changes[0], ts_ms=ONSET_MS - 31 * 60_000)
    late = replace(situation.incident.changes[0], ts_ms=ONSET_MS + 61_000)
    for change in (old, late):
        stale = replace(situation, incident=replace(situation.incident, changes=(change,)))
        assert "no deployment of payments shortly before" in _reason(RollbackDeployment().propose(stale))


def test_rollback_declines_when_somebody_rolled_back_already():
    situation = examples.bad_deployment()
    situation.inventory.add(key_of(deployment()), examples.version_of(deployment(), SERVICE, ONSET_MS + 1))
    assert "already runs the template" in _reason(RollbackDeployment().propose(situation))


def test_rollback_finds_the_template_in_replica_sets():
    def replica_set(number, image):
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "payments", "uid": "u"}
        template = deployment(image)["spec"]["template"]
        labels = {**template["metadata"]["labels"], "pod-template-hash": f"h{number}"}
        return {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"payments-{number}",
                "namespace": "shop",
                "annotations": {"deployment.kubernetes.io/revision": str(number)},
                "ownerReferences": [owner],
            },
            "spec": {"template": {**template, "metadata": {"labels": labels}}},
        }

    inventory = inventory_of(
        (deployment("payments:1.5.0"), SERVICE, EARLY),
        (replica_set(9, "payments:1.4.2"), SERVICE, EARLY),
        (replica_set(10, "payments:1.5.0"), SERVICE, EARLY),
    )
    change = Change("chg-1", SERVICE, ONSET_MS - 40_000, "deployment", "payments: rollout")
    draft = RollbackDeployment().propose(situation_of(inventory, [anomaly(SERVICE, "span.p99_ms", 1, 9.0)], [change]))
    written = [operation for operation in parse_operations(draft.actions[0].body) if operation["op"] != "test"]
    assert [(one["path"], one["value"]) for one in written] == [
        ("/spec/template/spec/containers/0/image", "payments:1.4.2")
    ]


def test_restore_leaves_immutable_and_forgotten_config_maps():
    situation = examples.bad_config()
    key = key_of(examples.config_map())
    newest = parse_manifest(situation.inventory.newest(key).manifest)
    frozen = {**newest, "immutable": True}
    situation.inventory.add(key, examples.version_of(frozen, SERVICE, ONSET_MS))
    assert "is immutable" in _reason(RestoreConfigMap().propose(situation))
    situation = examples.bad_config()
    for number in range(4):
        newer = examples.config_map(N=str(number))
        situation.inventory.add(key, examples.version_of(newer, SERVICE, ONSET_MS + number))
    assert "no ConfigMap" in _reason(RestoreConfigMap().propose(situation))


def test_restore_restarts_only_who_would_not_notice():
    situation = examples.bad_config()
    key = key_of(deployment())
    mounted = deployment(volumes=[{"name": "c", "configMap": {"name": "payments"}}])
    del mounted["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    situation.inventory.add(key, examples.version_of(mounted, SERVICE, EARLY + 1))
    by_volume = RestoreConfigMap().propose(situation)
    by_environment = RestoreConfigMap().propose(examples.bad_config())
    assert [one.kind for one in by_volume.actions] == ["ConfigMap"]
    assert [one.kind for one in by_environment.actions] == ["ConfigMap", "Deployment"]


@pytest.mark.parametrize(
    ("used", "hard", "says"),
    [("4000Mi", "4Gi", "leaves no room"), (None, "4Gi", "is not known"), ("lots", "4Gi", "not a Kubernetes quantity")],
)
def test_memory_stays_within_the_quota(used, hard, says):
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q", "namespace": "shop"},
        "spec": {"hard": {"limits.memory": hard}},
        "status": {"used": {"limits.memory": used}} if used else {},
    }
    inventory = inventory_of((deployment(), SERVICE, EARLY), (quota, "demo/account/-/q", EARLY))
    situation = situation_of(inventory, [anomaly(SERVICE, "event.OOMKilling", 1, 1.0, "count")])
    assert says in _reason(RaiseMemoryLimit().propose(situation))


def test_memory_needs_to_know_which_container():
    two = deployment()
    first = two["spec"]["template"]["spec"]["containers"][0]
    two["spec"]["template"]["spec"]["containers"].append({**first, "name": "sidecar"})
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "payments-1", "namespace": "shop"},
        "status": {
            "containerStatuses": [
                {
                    "name": "sidecar",
                    "lastState": {"terminated": {"reason": "OOMKilled", "finishedAt": "2023-11-14T22:13:00Z"}},
                }
            ]
        },
    }
    signs = [anomaly(SERVICE, "event.OOMKilling", 1, 1.0, "count")]
    unclear = situation_of(inventory_of((two, SERVICE, EARLY)), signs)
    assert "is not clear: 2 have a limit" in _reason(RaiseMemoryLimit().propose(unclear))
    clear = situation_of(inventory_of((two, SERVICE, EARLY), (pod, SERVICE, EARLY)), signs)
    assert "container sidecar: 256Mi -> 384Mi" in RaiseMemoryLimit().propose(clear).title


def test_an_old_oom_kill_is_no_reason():
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "payments-1", "namespace": "shop"},
        "status": {
            "containerStatuses": [
                {
                    "name": "payments",
                    "lastState": {"terminated": {"reason": "OOMKilled", "finishedAt": "2023-11-01T00:00:00Z"}},
                }
            ]
        },
    }
    inventory = inventory_of((deployment(), SERVICE, EARLY), (pod, SERVICE, EARLY))
    situation = situation_of(inventory, [anomaly(SERVICE, "span.p99_ms", 1, 9.0)])
    assert "no OOM kill" in _reason(RaiseMemoryLimit().propose(situation))


@pytest.mark.parametrize(("replicas", "more"), [(1, 2), (2, 3), (3, 5), (10, 15)])
def test_scale_out_adds_half_and_at_least_one(replicas, more):
    inventory = inventory_of((deployment(replicas=replicas), SERVICE, EARLY))
    draft = ScaleOut().propose(situation_of(inventory, [anomaly(SERVICE, "queue_depth", 1, 9.0)]))
    assert resolve(parse_operations(draft.actions[0].body)[-1], "/value") == more


def test_scale_out_leaves_replicas_to_their_autoscaler():
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "hpa", "namespace": "shop"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "payments"}},
    }
    inventory = inventory_of((deployment(), SERVICE, EARLY), (autoscaler, SERVICE, EARLY))
    situation = situation_of(inventory, [anomaly(SERVICE, "cpu_usage", 1, 1.0)])
    assert "autoscaler hpa owns the replicas" in _reason(ScaleOut().propose(situation))


def test_scale_out_leaves_what_was_stopped_on_purpose():
    inventory = inventory_of((deployment(replicas=0), SERVICE, EARLY))
    situation = situation_of(inventory, [anomaly(SERVICE, "cpu_usage", 1, 1.0)])
    assert "stopped on purpose" in _reason(ScaleOut().propose(situation))


def test_a_busy_node_is_not_cordoned_and_neither_is_one_with_an_old_condition():
    nodes = ((examples.node("node-1"), examples.NODE, EARLY), (examples.node("node-2"), "demo/node/-/node-2", EARLY))
    busy = situation_of(inventory_of(*nodes), [anomaly(examples.NODE, "cpu_usage", 1, 0.99)], entity=examples.NODE)
    assert "a busy node still takes pods" in _reason(CordonNode().propose(busy))
    failing = ((examples.node("node-1", ready=False), examples.NODE, EARLY), nodes[1])
    quiet = situation_of(inventory_of(*failing), [], entity=examples.NODE)
    assert "nothing says that node node-1 fails now" in _reason(CordonNode().propose(quiet))


def test_more_replicas_of_a_bad_version_are_not_offered():
    situation = examples.bad_deployment()
    busy = replace(situation.incident, anomalies=(anomaly(SERVICE, "cpu_usage", 1, 0.99),))
    assert "more replicas would run the same" in _reason(ScaleOut().propose(replace(situation, incident=busy)))


def test_the_last_node_is_not_cordoned():
    inventory = inventory_of((examples.node("node-1", ready=False), examples.NODE, EARLY))
    signs = [anomaly(examples.NODE, "event.NodeNotReady", 1, 1.0)]
    assert "only 0 other nodes" in _reason(CordonNode().propose(situation_of(inventory, signs, entity=examples.NODE)))


def test_a_restart_of_one_replica_needs_approval_and_a_crash_loop_no_restart():
    one = inventory_of((deployment(replicas=1), SERVICE, EARLY))
    stuck = situation_of(one, [anomaly(SERVICE, "event.Unhealthy", 1, 3.0)])
    assert RestartStuckWorkload().propose(stuck).risk is Risk.NEEDS_APPROVAL
    looping = situation_of(one, [anomaly(SERVICE, "event.BackOff", 1, 3.0)])
    assert "nothing says that payments is stuck" in _reason(RestartStuckWorkload().propose(looping))


def test_a_restart_stands_aside_for_a_rollback():
    situation = examples.bad_deployment()
    stuck = replace(situation.incident, anomalies=(anomaly(SERVICE, "event.Unhealthy", 1, 3.0),))
    reason = _reason(RestartStuckWorkload().propose(replace(situation, incident=stuck)))
    assert "a restart would start the same again" in reason


def test_a_restart_says_its_second_time_too():
    inventory = inventory_of((deployment(), SERVICE, EARLY))
    annotated = deployment()
    annotated["spec"]["template"]["metadata"]["annotations"] = {"kubectl.kubernetes.io/restartedAt": "yesterday"}
    inventory.add(key_of(annotated), examples.version_of(annotated, SERVICE, EARLY + 1))
    draft = RestartStuckWorkload().propose(situation_of(inventory, [anomaly(SERVICE, "event.Unhealthy", 1, 3.0)]))
    assert parse_operations(draft.undo[0].body)[-1]["value"] == "yesterday"


def test_nothing_is_proposed_for_an_empty_inventory():
    for situation in SITUATIONS:
        for one in PLAYBOOKS:
            assert isinstance(one.propose(replace(situation, inventory=Inventory())), Declined)
