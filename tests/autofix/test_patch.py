"""Patches: what is guarded, exact both ways, and refused when the object is not what was assumed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autofix.patch import apply_operations, canonical, edit, guarded_patch, parse_operations
from autofix.quantities import format_mebibytes, parse_quantity
from autofix.render import kubectl_command
from engine.errors import DataError

KEY = ("apps/v1", "Deployment", "shop", "payments")
NAMES = st.text(alphabet="ab/~0", min_size=1, max_size=3)
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.text(alphabet="xy", max_size=2)
NAMED = st.fixed_dictionaries({"name": st.sampled_from("pq"), "value": LEAVES})
VALUES = st.recursive(
    LEAVES | st.lists(NAMED, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4).map(lambda members: {**members, "kind": "Any"})


@given(DOCUMENTS, DOCUMENTS)
def test_a_patch_leads_exactly_there_and_its_undo_exactly_back(before, after):
    there = apply_operations(before, guarded_patch(before, after))
    assert canonical(there) == canonical(after)
    assert canonical(apply_operations(there, guarded_patch(after, before))) == canonical(before)


@given(DOCUMENTS, DOCUMENTS)
def test_every_written_value_is_tested_first(before, after):
    tested: set[str] = set()
    for operation in guarded_patch(before, after):
        path = operation["path"]
        if operation["op"] == "test":
            tested.add(path)
        elif operation["op"] == "add":
            parent = path.rpartition("/")[0]
            assert (parent or "/kind") in tested
        else:
            assert path in tested


def test_a_patch_is_the_same_however_its_members_were_ordered():
    before, after = {"a": 1, "b": 2, "c": {"x": 1}}, {"c": {"y": 2}, "d": 4, "a": 1}
    shuffled = dict(reversed(list(after.items())))
    assert json.dumps(guarded_patch(before, after)) == json.dumps(guarded_patch(before, shuffled))


def test_a_container_is_tested_by_its_name():
    before = {"c": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}
    after = {"c": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}
    assert guarded_patch(before, after)[0] == {"op": "test", "path": "/c/1/name", "value": "b"}
    swapped = {"c": list(reversed(before["c"]))}
    with pytest.raises(DataError, match="test /c/1/name failed"):
        apply_operations(swapped, guarded_patch(before, after))


def test_true_is_not_one():
    with pytest.raises(DataError, match="expected 1, found true"):
        apply_operations({"a": True}, [{"op": "test", "path": "/a", "value": 1}])


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "replace", "path": "/missing/deep", "value": 1}],
        [{"op": "remove", "path": "/missing"}],
        [{"op": "test", "path": "/a"}],
        [{"op": "test", "path": "/a/b/c", "value": 1}],
        [{"op": "explode", "path": "/a"}],
        [{"path": "/a"}],
        [{"op": "add", "path": "no-slash", "value": 1}],
        [{"op": "replace", "path": "", "value": 3}],
    ],
)
def test_what_does_not_apply_is_one_clear_error(operations):
    with pytest.raises(DataError):
        apply_operations({"a": 1}, operations)


def test_bodies_that_are_no_patch_are_refused():
    for body in ("", "{}", "[1]", "nonsense"):
        with pytest.raises(DataError, match="not a JSON Patch"):
            parse_operations(body)


def test_the_input_is_never_changed():
    before = {"a": {"b": [1]}}
    apply_operations(before, [{"op": "add", "path": "/a/b/0", "value": 0}])
    assert before == {"a": {"b": [1]}}


@pytest.mark.parametrize(
    ("text", "units"),
    [("512Mi", 512 * 2**20), ("1.5G", 1_500_000_000), ("1e3", 1000), ("2k", 2000), ("0.5Gi", 2**29), ("7", 7)],
)
def test_quantities_are_read_exactly(text, units):
    assert parse_quantity(text) == units


@pytest.mark.parametrize("text", ["", "12Q", "Mi", "1 Gi", None, True, [], "1e999999999"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(DataError, match="not a Kubernetes quantity"):
        parse_quantity(text)


def test_memory_is_rounded_up():
    assert format_mebibytes(parse_quantity("100M") * 3 / 2) == "144Mi"


def test_commands_name_kind_and_group_and_quote_their_body():
    action, _ = edit(KEY, {"spec": {"text": "it's"}}, {"spec": {"text": "was"}})
    command = kubectl_command(action)
    assert command.startswith("kubectl patch deployment.v1.apps payments -n shop --type=json -p '")
    assert "'\"'\"'" in command  # the quote in "it's" cannot end the argument
