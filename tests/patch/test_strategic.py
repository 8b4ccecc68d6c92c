"""Strategic merge patch: lists by merge key, directives, order."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api import errors, patch, schema


def apply(current, change, kind="core.v1.PodSpec"):
    before, given_change = copy.deepcopy(current), copy.deepcopy(change)
    node = schema.load().definition(f"io.k8s.api.{kind}")
    result = patch.apply_patch(node, current, change, patch.STRATEGIC_MERGE_PATCH)
    assert (current, change) == (before, given_change)
    return result


def named(*names):
    return [{"name": name} for name in names]


def names(spec, field="containers"):
    return [item["name"] for item in spec[field]]


@pytest.mark.parametrize(
    ("current", "change", "result"),
    [
        ({"hostname": "a"}, {"hostname": "b"}, {"hostname": "b"}),
        ({"hostname": "a"}, {"hostname": None}, {}),
        ({}, {"hostname": None}, {}),
        ({"dnsConfig": {"searches": ["a"]}}, {"dnsConfig": {"searches": ["b"]}}, {"dnsConfig": {"searches": ["b"]}}),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"b": "2"}}, {"nodeSelector": {"a": "1", "b": "2"}}),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"$patch": "replace", "b": "2"}}, {"nodeSelector": {"b": "2"}}),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"$patch": "delete"}}, {"nodeSelector": {}}),
        ({}, {"nodeSelector": {"a": None, "b": "1"}}, {"nodeSelector": {"b": "1"}}),
        ({"hostname": {"odd": 1}}, {"hostname": "a"}, {"hostname": "a"}),
        ({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}, {"tolerations": [{"key": "b"}]}),
    ],
)  # fmt: skip
def test_objects_and_plain_lists(current, change, result):
    assert apply(current, change) == result


def test_elements_merge_by_key_and_new_ones_are_added():
    current = {"containers": [{"name": "a", "image": "1", "tty": True}, {"name": "b"}]}
    change = {"containers": [{"name": "c", "image": "3", "stdin": None}, {"name": "a", "image": "2", "tty": None}]}
    assert apply(current, change)["containers"] == [
        {"name": "c", "image": "3"},
        {"name": "a", "image": "2"},
        {"name": "b"},
    ]


def test_nested_lists_merge_by_their_own_keys():
    current = {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}], "ports": [{"containerPort": 80}]}]}
    change = {"containers": [{"name": "a", "env": [{"name": "X", "value": "2"}], "ports": [{"containerPort": 81}]}]}
    container = apply(current, change)["containers"][0]
    assert container["env"] == [{"name": "X", "value": "2"}]
    assert sorted(port["containerPort"] for port in container["ports"]) == [80, 81]


def test_an_element_is_deleted_by_key():
    change = {"containers": [{"name": "b", "$patch": "delete"}, {"name": "none", "$patch": "delete"}]}
    assert names(apply({"containers": named("a", "b", "c")}, change)) == ["a", "c"]


def test_a_delete_of_a_list_that_is_not_there_leaves_it_empty():
    assert apply({}, {"containers": [{"name": "b", "$patch": "delete"}]}) == {"containers": []}


def test_a_list_is_replaced_whole():
    change = {"containers": [{"$patch": "replace"}, *named("z")]}
    assert names(apply({"containers": named("a", "b")}, change)) == ["z"]


def test_scalars_with_merge_strategy_are_a_union():
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    node = schema.load().definition(meta)
    result = patch.apply_patch(
        node, {"finalizers": ["a", "b"]}, {"finalizers": ["c", "a"]}, patch.STRATEGIC_MERGE_PATCH
    )
    assert sorted(result["finalizers"]) == ["a", "b", "c"]
    assert result["finalizers"].index("c") < result["finalizers"].index("a")


def test_scalars_are_deleted_by_their_own_directive():
    node = schema.load().definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
    change = {"$deleteFromPrimitiveList/finalizers": ["a", "x"]}
    apply_meta = patch.apply_patch(node, {"finalizers": ["a", "b"]}, change, patch.STRATEGIC_MERGE_PATCH)
    assert apply_meta == {"finalizers": ["b"]}
    assert patch.apply_patch(node, {}, change, patch.STRATEGIC_MERGE_PATCH) == {}


@pytest.mark.parametrize(
    ("current", "order", "changed", "result"),
    [
        ("abc", "cba", "", "cba"),
        ("abc", "cb", "", "acb"),
        ("ab", "ac", "c", "acb"),
        ("ab", "ca", "c", "cab"),
        ("xay", "ab", "b", "xaby"),
        ("", "ba", "ba", "ba"),
        ("abc", "b", "b", "abc"),
    ],
)
def test_set_element_order(current, order, changed, result):
    change = {"$setElementOrder/containers": named(*order)}
    if changed:
        change["containers"] = named(*changed)
    base = {"containers": named(*current)} if current else {}
    assert "".join(names(apply(base, change))) == result


def test_deleting_and_ordering_together_as_kubectl_apply_does():
    change = {
        "$setElementOrder/containers": named("c", "a"),
        "containers": [{"name": "c", "image": "x"}, {"name": "b", "$patch": "delete"}],
    }
    assert names(apply({"containers": named("a", "b")}, change)) == ["c", "a"]


def test_an_order_without_list_adds_nothing():
    assert apply({}, {"$setElementOrder/containers": named("a")}) == {}


def test_retain_keys_clears_the_other_fields_of_a_union():
    current = {"volumes": [{"name": "v", "emptyDir": {}}]}
    change = {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}
    assert apply(current, change) == {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}


def test_retain_keys_of_the_deployment_strategy():
    current = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    change = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert apply(current, change, "apps.v1.Deployment") == {"spec": {"strategy": {"type": "Recreate"}}}


def test_directives_do_not_end_in_new_content():
    volume = {"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}
    change = {"volumes": [volume], "dnsConfig": {"$setElementOrder/x": []}}
    assert apply({}, change) == {"volumes": [{"name": "v", "emptyDir": {}}], "dnsConfig": {}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodeSelector": {"$patch": "bogus"}}, r"unknown patch type: bogus in map: map\[\$patch:bogus\]"),
        ({"nodeSelector": {"$patch": "merge"}}, r"unknown patch type: merge in map: map\[\$patch:merge\]"),
        (
            {"containers": [{"name": "a", "$patch": "bogus"}]},
            r"unknown patch type: bogus in map: map\[\$patch:bogus name:a\]",
        ),
        ({"containers": [{"$patch": "delete"}]}, "does not contain declared merge key: name"),
        ({"containers": [{"image": "x"}]}, "does not contain declared merge key: name"),
        ({"containers": ["x"]}, "list element types are not identical"),
        ({"$retainKeys": "x"}, "invalid patch format of retainKeys"),
        ({"$retainKeys": ["a"], "hostname": "x"}, "invalid patch format of retainKeys"),
        ({"$setElementOrder/containers": "x"}, r"expected a \[\]interface {}, but received a string"),
        ({"$setElementOrder/containers": named("a"), "containers": named("b")}, "doesn't match"),
        ({"$setElementOrder/containers": ["a"]}, "does not contain declared merge key"),
        ({"$deleteFromPrimitiveList/containers": ["a"]}, "list element types are not identical"),
    ],
)
def test_malformed_directives_are_bad_requests(change, message):
    with pytest.raises(errors.BadRequest, match=message):
        apply({"containers": named("a"), "nodeSelector": {"a": "b"}}, change)


def test_lists_of_lists_are_invalid():
    with pytest.raises(errors.Invalid, match="the server rejected our request"):
        apply({"containers": named("a")}, {"containers": [[]]})


ENTRIES = st.lists(st.sampled_from("abcdef"), unique=True, max_size=5)


@settings(max_examples=60, deadline=None)
@given(ENTRIES, ENTRIES)
def test_an_order_with_all_names_is_the_order(before, after):
    change = {
        "$setElementOrder/containers": named(*after),
        "containers": named(*after) + [{"name": name, "$patch": "delete"} for name in before if name not in after],
    }
    assert names(apply({"containers": named(*before)}, change)) == after


@settings(max_examples=60, deadline=None)
@given(ENTRIES, ENTRIES)
def test_merging_loses_no_element_and_makes_none_twice(before, added):
    merged = names(apply({"containers": named(*before)}, {"containers": named(*added)}))
    assert sorted(merged) == sorted({*before, *added})


@settings(max_examples=60, deadline=None)
@given(ENTRIES, ENTRIES)
def test_applying_twice_is_applying_once(before, added):
    change = {"containers": named(*added)}
    once = apply({"containers": named(*before)}, change)
    assert apply(once, change) == once


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"containers": [{"image": "q"}]}, "map: map[image:q] does not contain declared merge key: name"),
        (
            {"containers": [{"image": "q", "args": ["a", 1, None, True, {"b": 0.5}]}]},
            "map: map[args:[a 1 <nil> true map[b:0.5]] image:q] does not contain declared merge key: name",
        ),
        (
            {"$setElementOrder/containers": [{"name": "c"}], "containers": [{"name": "z", "image": "i"}]},
            "The order in patch list:\n[map[image:i name:z]]\n doesn't match $setElementOrder list:\n[map[name:c]]\n",
        ),
    ],
)
def test_values_in_messages_are_printed_as_go_prints_them(change, message):
    with pytest.raises(errors.BadRequest) as caught:
        apply({"containers": named("a")}, change)
    assert str(caught.value) == message


def test_deletions_by_the_thousand_take_no_time_of_their_product():
    names = [str(n) for n in range(8000)]
    change = {"containers": [{"name": name, "$patch": "delete"} for name in names]}
    assert apply({"containers": named(*names, "kept")}, change)["containers"] == named("kept")
    finalizers = {"metadata": {"finalizers": names}}
    meta = schema.load().definition("io.k8s.api.core.v1.Pod")
    gone = {"metadata": {"$deleteFromPrimitiveList/finalizers": names[1:]}}
    assert patch.apply_patch(meta, finalizers, gone, patch.STRATEGIC_MERGE_PATCH) == {"metadata": {"finalizers": ["0"]}}
