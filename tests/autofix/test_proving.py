"""Proving, policy, proposing and deciding: each verdict says what was run and what it showed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autofix import examples
from autofix.approval import Choice, Decision, Standing, decide, standing
from autofix.examples import GATEWAY, ONSET_MS, SERVICE, config_map, deployment, inventory_of, key_of
from autofix.patch import canonical, edit
from autofix.policy import Effect, Permitted, PolicyConfig, Refused
from autofix.proposer import ProposerConfig
from autofix.prove import prove
from autofix.sandbox import ShadowSandbox
from autofix.situation import Draft
from autofix.validate import check_manifest, known_versions, schema_version
from engine.errors import ConfigError, DataError
from engine.types import CHECKS, Action, Outcome, Ranking, Risk

KEY = key_of(deployment())


def draft_of(before, after, undo_to=None):
    action, undo = edit(key_of(before), before, after)
    if undo_to is not None:
        undo = edit(key_of(before), after, undo_to)[0]
    return Draft("mine", "title", "why", (action,), (undo,), Risk.SAFE, (SERVICE,))


def verdicts(draft, *objects, policy=None):
    inventory = inventory_of(*((one, SERVICE, 1) for one in objects))
    return {one.check: one for one in prove(draft, inventory, policy or PolicyConfig())}


# The sandbox.


def test_the_shadow_copy_is_changed_and_restored_and_the_inventory_never():
    inventory = inventory_of((deployment(), SERVICE, 1))
    action, _ = edit(KEY, deployment(), deployment(replicas=3))
    with ShadowSandbox(inventory) as sandbox:
        before = sandbox.observe()
        sandbox.apply([action])
        assert sandbox.observe() != before
        sandbox.restore()
        assert sandbox.observe() == before
    assert inventory.newest(KEY).manifest == canonical(deployment())


def test_the_first_action_that_does_not_apply_is_named():
    good, _ = edit(KEY, deployment(), deployment(replicas=3))
    with ShadowSandbox(inventory_of((deployment(), SERVICE, 1))) as sandbox:
        with pytest.raises(DataError, match="patch Deployment shop/payments: test /spec/replicas failed"):
            sandbox.apply([good, good])
        with pytest.raises(DataError, match="no such object"):
            sandbox.apply([replace(good, name="other")])


def test_what_is_created_can_be_deleted_again():
    body = canonical(config_map(a="1"))
    with ShadowSandbox(inventory_of()) as sandbox:
        sandbox.apply([Action("create", "v1", "ConfigMap", "shop", "payments", body)])
        with pytest.raises(DataError, match="exists already"):
            sandbox.apply([Action("create", "v1", "ConfigMap", "shop", "payments", body)])
        sandbox.apply([Action("delete", "v1", "ConfigMap", "shop", "payments", "")])
        assert sandbox.observe() == {}


# Schema validation.


def test_the_newest_schemas_are_the_default_and_a_wrong_version_is_refused():
    assert known_versions()[-1].startswith(schema_version())
    assert schema_version("v1.30.4") == "1.30"
    with pytest.raises(ConfigError, match=r"no Kubernetes schemas of version '1\.2'"):
        schema_version("1.2")


@pytest.mark.parametrize(
    ("manifest", "outcome"),
    [
        (deployment(), Outcome.PASSED),
        ({**deployment(), "spec": {"replicas": "x"}}, Outcome.FAILED),
        ({**deployment(), "spce": {}}, Outcome.FAILED),
        ({**deployment(), "kind": "Rollout", "apiVersion": "argoproj.io/v1alpha1"}, Outcome.INCONCLUSIVE),
        ({"metadata": {}}, Outcome.FAILED),
        ({"kind": "../../x", "apiVersion": "v1"}, Outcome.INCONCLUSIVE),
    ],
)
def test_manifests_are_judged_by_their_schema(manifest, outcome):
    assert check_manifest(manifest, schema_version())[0] is outcome


# The policy.


def judged(before, after, policy=None, earlier=(), **action):
    one = replace(edit(key_of(before), before, after)[0], **action)
    effect = Effect((one.api_version, one.kind, one.namespace, one.name), before, after, earlier)
    return (policy or PolicyConfig()).judge([one], [effect], (SERVICE,))


def pod_with(**container):
    manifest = deployment()
    manifest["spec"]["template"]["spec"]["containers"][0].update(container)
    return manifest


SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"}, "data": {"a": "b"}}


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (SECRET, {**SECRET, "data": {"a": "c"}}, "kind Secret is not allowed"),
        (deployment(), deployment(replicas=1), "never scales in"),
        (deployment(), deployment(replicas=0), "never scales in"),
        (deployment(replicas=4), deployment(replicas=9), "more than 2 times as many"),
        (deployment(), deployment(memory="600Mi"), "more than 2 times as much"),
        (deployment(), pod_with(resources={}), "take the memory limit off"),
        (deployment(), pod_with(securityContext={"privileged": True}), "payments: privileged"),
        (deployment(), pod_with(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}), "capability SYS_ADMIN"),
        (deployment(), pod_with(securityContext={"runAsUser": 0}), "runAsUser 0"),
        (deployment(), deployment(hostNetwork=True), "hostNetwork"),
        (deployment(), deployment(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "host path /"),
        (deployment(), deployment(serviceAccountName="admin"), "service account admin"),
        (deployment(), pod_with(envFrom=[{"secretRef": {"name": "keys"}}]), "secret keys"),
        (deployment(), pod_with(image="***"), "stands for a value that was not recorded"),
        (deployment(), {**deployment(), "kind": "DaemonSet"}, "/kind may not be written"),
        (deployment(), {**deployment(), "metadata": {"name": "x", "namespace": "shop"}}, "may not be written"),
    ],
)
def test_the_policy_refuses(before, after, says):
    ruling = judged(before, after)
    assert isinstance(ruling, Refused)
    assert says in ruling.reason


def test_the_policy_refuses_by_verb_namespace_and_radius():
    after = deployment(replicas=3)
    assert "protected" in judged(deployment(), after, namespace="kube-system").reason
    only = PolicyConfig(namespaces=("prod",))
    assert "not among the allowed" in judged(deployment(), after, only).reason
    assert "verb 'delete'" in judged(deployment(), after, verb="delete").reason
    action, _ = edit(KEY, deployment(), after)
    effect = Effect(KEY, deployment(), after)
    many = [f"demo/service/shop/s{number}" for number in range(21)]
    assert "21 entities may notice" in PolicyConfig().judge([action], [effect], many).reason
    assert "nothing to do" in PolicyConfig().judge([], [], ()).reason
    assert "is not known" in PolicyConfig().judge([action], [], ()).reason


def test_the_policy_refuses_operations_that_hide_what_they_write():
    moved = Action("patch", *KEY, canonical([{"op": "copy", "from": "/spec/x", "path": "/spec/y"}]))
    ruling = PolicyConfig().judge([moved], [Effect(KEY, deployment(), deployment())], ())
    assert "operation 'copy' is not allowed" in ruling.reason


def test_a_value_of_before_is_allowed_again_but_never_a_privilege():
    roomy = deployment(memory="1Gi")
    assert isinstance(judged(deployment(memory="64Mi"), roomy, earlier=(roomy,)), Permitted)
    account = deployment(serviceAccountName="payments")
    assert isinstance(judged(deployment(), account, earlier=(account,)), Permitted)
    privileged = pod_with(securityContext={"privileged": True})
    assert isinstance(judged(deployment(), privileged, earlier=(privileged,)), Refused)


def test_some_settings_are_none():
    for wrong in ({"verbs": ("patch", "delete")}, {"kinds": ("Secret",)}, {"max_memory_factor": 0.5}):
        with pytest.raises(ConfigError):
            PolicyConfig(**wrong)


# The verdicts.


def test_a_good_draft_passes_all_that_can_be_run_and_the_symptom_stays_open():
    found = verdicts(draft_of(deployment(), deployment(replicas=3)), deployment())
    assert list(found) == list(CHECKS)
    assert [one.outcome for one in found.values()] == [Outcome.PASSED] * 4 + [Outcome.INCONCLUSIVE]
    assert found["symptom gone"].showed == (
        "the shadow copy runs no workload, so whether the symptom goes was not shown"
    )
    assert found["undo exact"].showed == "1 object compared, equal byte for byte"


def test_a_draft_that_does_not_apply_leaves_the_rest_unshown():
    found = verdicts(draft_of(deployment(), deployment(replicas=3)), deployment(replicas=7))
    assert found["applies"].outcome is Outcome.FAILED
    assert "expected 2, found 7" in found["applies"].showed
    assert found["valid"].outcome is found["undo exact"].outcome is Outcome.INCONCLUSIVE
    assert found["permitted"].outcome is Outcome.FAILED


def test_an_undo_that_is_not_exact_fails():
    inexact = draft_of(deployment(), deployment(replicas=3), undo_to=deployment(replicas=1))
    found = verdicts(inexact, deployment())
    assert found["undo exact"].outcome is Outcome.FAILED
    assert "differs after undo: Deployment payments" in found["undo exact"].showed


def test_an_invalid_patch_fails_and_an_object_that_was_invalid_before_is_inconclusive():
    broken = {**deployment(), "spec": {**deployment()["spec"], "replicas": "two"}}
    assert verdicts(draft_of(deployment(), broken), deployment())["valid"].outcome is Outcome.FAILED
    partial = {**deployment(), "spec": {"replicas": 2, "template": {"spec": {}}}}
    more = {**partial, "spec": {**partial["spec"], "replicas": 3}}
    found = verdicts(draft_of(partial, more), partial)["valid"]
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "as recorded does not fit either" in found.showed


def test_a_kind_without_schema_is_inconclusive():
    custom = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "payments", "namespace": "shop"},
        "spec": {"replicas": 2},
    }
    more = {**custom, "spec": {"replicas": 3}}
    found = verdicts(draft_of(custom, more), custom, policy=PolicyConfig(kinds=("Rollout",)))
    assert found["valid"].outcome is Outcome.INCONCLUSIVE
    assert found["permitted"].outcome is Outcome.PASSED


# The proposer.


def considered(situation, config=None):
    proposer = (config or ProposerConfig()).build()
    incident = situation.incident
    return proposer.consider(incident, incident.ranking, situation.inventory, situation.now_ms)


def test_a_fix_carries_its_proof_and_the_others_their_reason():
    result = considered(examples.bad_deployment())
    (fix,) = result.fixes
    assert (fix.playbook, fix.entity, fix.outcome) == ("rollback_deployment", SERVICE, Outcome.INCONCLUSIVE)
    assert [one.check for one in fix.verdicts] == list(CHECKS)
    assert fix.expires_ms == ONSET_MS + 120_000 + 3_600_000
    assert len(result.declined) == 5
    assert all(one.reason for one in result.declined)


def test_the_same_question_has_the_same_answer_and_a_later_one_the_same_id():
    situation = examples.stuck()
    assert considered(situation) == considered(situation)
    later = replace(situation, now_ms=situation.now_ms + 60_000)
    assert [one.id for one in considered(situation).fixes] == [one.id for one in considered(later).fixes]


def test_a_draft_that_the_policy_forbids_is_withheld_with_its_verdict():
    strict = ProposerConfig(policy=PolicyConfig(protected_namespaces=("shop",)))
    result = considered(examples.bad_deployment(), strict)
    assert result.fixes == ()
    assert [one.showed for one in result.withheld[0].verdicts if one.outcome is Outcome.FAILED] == [
        "namespace shop is protected"
    ]


def test_no_ranking_no_fix_and_a_weak_cause_neither():
    situation = examples.bad_deployment()
    proposer = ProposerConfig().build()
    abstained = Ranking((), "no evidence")
    assert proposer.propose(situation.incident, abstained, situation.inventory, 1) == ()
    weak = Ranking((replace(situation.cause, score=0.1),))
    result = proposer.consider(situation.incident, weak, situation.inventory, 1)
    assert result.fixes == ()
    assert result.declined[0].reason == "score 0.10 is below 0.2"
    runner_up = replace(situation.cause, entity=GATEWAY, score=0.5)
    result = proposer.consider(situation.incident, Ranking((situation.cause, runner_up)), situation.inventory, 1)
    assert [one.reason for one in result.declined if one.entity == GATEWAY] == ["score 0.50 is below 0.6"]


def test_a_broken_manifest_is_a_reason_not_a_crash():
    situation = examples.bad_deployment()
    newest = situation.inventory.newest(KEY)
    situation.inventory.add(KEY, replace(newest, id="obj-broken", manifest="{"))
    result = considered(situation)
    assert result.fixes == ()
    assert any("not a manifest" in one.reason for one in result.declined)


def test_settings_are_checked_before_the_world():
    with pytest.raises(ConfigError, match="no playbook 'pray'"):
        ProposerConfig(playbooks=("pray",))
    with pytest.raises(ConfigError):
        ProposerConfig(max_causes=0)
    with pytest.raises(ConfigError, match="no Kubernetes schemas"):
        ProposerConfig(kubernetes="0.9").build()


# Decisions.


FIX = considered(examples.bad_deployment()).fixes[0]


def decision(choice, at_ms=ONSET_MS + 180_000, who="ada", fix=FIX, revision=FIX.revision):
    return Decision(fix.id, revision, choice, who, at_ms, "because")


def test_an_approval_says_how_to_apply_and_a_rollback_how_to_undo():
    approve = decision(Choice.APPROVE)
    settled = decide(FIX, [], approve)
    assert (settled.accepted, settled.standing) == (True, Standing.APPROVED)
    assert '"value":"payments:1.4.2"}]' in settled.entry.commands[0]
    back = decide(FIX, [approve], decision(Choice.ROLLBACK))
    assert back.standing is Standing.ROLLED_BACK
    assert '"value":"payments:1.5.0"}]' in back.entry.commands[0]


@pytest.mark.parametrize(
    ("earlier", "one", "fix", "says"),
    [
        ([], decision(Choice.APPROVE, at_ms=FIX.expires_ms), FIX, "expired"),
        ([], decision(Choice.APPROVE), replace(FIX, risk=Risk.DISPLAY_ONLY), "display only"),
        ([], decision(Choice.APPROVE, revision=9), FIX, "revision 9 was looked at"),
        ([], decision(Choice.APPROVE, who=" "), FIX, "needs a name"),
        ([], decision(Choice.ROLLBACK), FIX, "it is proposed; only an approved fix can be rolled back"),
        (
            [decision(Choice.REJECT)],
            decision(Choice.APPROVE),
            FIX,
            "it is rejected; only a proposed fix can be approved",
        ),
        ([decision(Choice.APPROVE)], decision(Choice.APPROVE), FIX, "it is approved already"),
        ([], decision(Choice.APPROVE), replace(FIX, id="fix-other"), "not fix-other"),
        (
            [],
            decision(Choice.APPROVE),
            replace(FIX, verdicts=(replace(FIX.verdicts[0], outcome=Outcome.FAILED),)),
            "it failed: valid",
        ),
    ],
)
def test_what_cannot_be_decided_is_refused_with_a_reason_and_audited(earlier, one, fix, says):
    settled = decide(fix, earlier, one)
    assert not settled.accepted
    assert says in settled.entry.reason
    assert settled.entry.commands == ()
    assert settled.standing is standing(earlier)
