"""Decoding a body by its kind: Go's errors, unknown fields, nulls, canonical leaves."""

import copy
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.api import objects, schema

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "nginx",
                        "ports": [{"containerPort": 80}],
                        "env": [{"name": "A"}],
                        "resources": {},
                    }
                ]
            },
        },
    },
    "status": {},
}


def node(kind="apps.v1.Deployment"):
    return schema.load().definition(f"io.k8s.api.{kind}")


def deployment(value, *path):
    obj = copy.deepcopy(DEPLOYMENT)
    parent = obj
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return obj


CONTAINER = ("spec", "template", "spec", "containers", 0)


def deployment_meta(meta):
    return {**NOTHING, "metadata": meta}


#: A Deployment of which nothing was said: what Go writes of it.
NOTHING = {
    "metadata": {},
    "spec": {"selector": None, "strategy": {}, "template": {"metadata": {}, "spec": {"containers": None}}},
    "status": {},
}


def test_a_right_object_is_kept_as_it_is():
    decoded = schema.decode(node(), copy.deepcopy(DEPLOYMENT))
    assert decoded == schema.Decoded(DEPLOYMENT)


INTO = "json: cannot unmarshal {} into Go struct field {} of type {}"


@pytest.mark.parametrize(
    ("path", "value", "what", "field", "go_type"),
    [
        (("spec", "replicas"), "3", "string", "DeploymentSpec.spec.replicas", "int32"),
        (("spec", "replicas"), 1.5, "number 1.5", "DeploymentSpec.spec.replicas", "int32"),
        (("spec", "replicas"), 2**31, "number 2147483648", "DeploymentSpec.spec.replicas", "int32"),
        (("spec", "replicas"), True, "bool", "DeploymentSpec.spec.replicas", "int32"),
        (("spec", "paused"), "yes", "string", "DeploymentSpec.spec.paused", "bool"),
        (("spec",), [], "array", "Deployment.spec", "v1.DeploymentSpec"),
        (("metadata", "labels"), {"a": 1}, "number", "ObjectMeta.metadata.labels", "string"),
        (("metadata", "labels"), "a", "string", "ObjectMeta.metadata.labels", "map[string]string"),
        (("metadata", "name"), {}, "object", "ObjectMeta.metadata.name", "string"),
        (
            (*CONTAINER, "env"),
            {},
            "object",
            "Container.spec.template.spec.containers.env",
            "[]v1.EnvVar",
        ),
        (
            (*CONTAINER, "env", 0),
            7,
            "number",
            "Container.spec.template.spec.containers.env",
            "v1.EnvVar",
        ),
    ],
)
def test_a_wrong_type_is_told_in_gos_words(path, value, what, field, go_type):
    error = schema.check(node(), deployment(value, *path))
    assert error == INTO.format(what, field, go_type)


def test_a_wrong_root_is_told_in_gos_words():
    assert schema.check(node(), []) == "json: cannot unmarshal array into Go value of type v1.Deployment"


def test_the_message_of_the_response():
    assert schema.wrong_type_message("Deployment", "v1", "json: no") == (
        'Deployment in version "v1" cannot be handled as a Deployment: json: no'
    )


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("x", 'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"'),
        ("", 'parsing time "" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "2006"'),
        ("2024-02-30T00:00:00Z", 'parsing time "2024-02-30T00:00:00Z": day out of range'),
        (5, "json: cannot unmarshal number into Go value of type string"),
    ],
)
def test_a_bad_time(value, error):
    assert schema.check(node(), deployment(value, "metadata", "creationTimestamp")) == error


def test_a_time_is_kept_in_utc_and_whole_seconds():
    obj = deployment("2024-01-01T01:00:00.75+02:00", "metadata", "creationTimestamp")
    assert schema.decode(node(), obj).value["metadata"]["creationTimestamp"] == "2023-12-31T23:00:00Z"


def test_the_year_one_keeps_its_zeros():
    obj = deployment("0001-01-01T00:00:00Z", "metadata", "creationTimestamp")
    assert schema.load().definition("io.k8s.api.apps.v1.Deployment").settle(obj)
    assert obj["metadata"]["creationTimestamp"] == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("given", "kept"), [("500m", "500m"), (0.5, "500m"), (2, "2"), ("1000m", "1"), ("1024Mi", "1Gi")]
)
def test_quantities_are_canonical(given, kept):
    obj = deployment({"limits": {"cpu": given}}, *CONTAINER, "resources")
    decoded = schema.decode(node(), obj)
    assert objects.get_path(decoded.value, "spec", "template", "spec")["containers"][0]["resources"] == {
        "limits": {"cpu": kept}
    }


@pytest.mark.parametrize("value", ["", "1x", True, {}])
def test_a_bad_quantity(value):
    error = schema.check(node(), deployment({"limits": {"cpu": value}}, *CONTAINER, "resources"))
    assert error == ("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")


@pytest.mark.parametrize(("value", "offset"), [("a!bc", 1), ("YQ=", 3), ("YWJj!", 4), ("YQ==YQ==", 4)])
def test_bad_base64(value, offset):
    error = schema.check(node("core.v1.Secret"), {"data": {"k": value}})
    assert error == f"illegal base64 data at input byte {offset}"


def test_int_or_string_takes_no_bool():
    obj = deployment(True, "spec", "strategy", "rollingUpdate", "maxSurge")
    assert schema.check(node(), obj) == "json: cannot unmarshal bool into Go value of type int32"


def test_unknown_fields_are_dropped_and_listed_by_path():
    obj = deployment(1, *CONTAINER, "foo")
    obj["Kind"] = "x"
    decoded = schema.decode(node(), obj)
    assert decoded.unknown == ["spec.template.spec.containers[0].foo", "Kind"]
    assert decoded.value == DEPLOYMENT
    assert schema.unknown_field_message("a.b") == 'unknown field "a.b"'


def test_unknown_fields_can_be_dropped_unseen():
    decoded = schema.decode(node(), deployment(1, "spec", "foo"), collect_unknown=False)
    assert decoded == schema.Decoded(DEPLOYMENT)


def test_at_most_a_hundred_unknown_fields_are_told():
    assert len(schema.unknown_fields(node(), {f"x{i}": 1 for i in range(300)})) == 100


def test_looking_for_unknown_fields_changes_nothing_and_survives_wrong_types():
    obj = deployment("wrong", "spec", "template")
    obj["foo"] = 1
    before = copy.deepcopy(obj)
    assert schema.unknown_fields(node(), obj) == ["foo"]
    assert obj == before


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"metadata": None}, {}),
        ({"metadata": {"creationTimestamp": None, "name": None, "labels": None}}, {}),
        ({"metadata": {"labels": {"a": None}}}, {"labels": {"a": ""}}),
        ({"metadata": {"finalizers": [None]}}, {"finalizers": [""]}),
        (
            {"metadata": {"ownerReferences": [None]}},
            {"ownerReferences": [{"apiVersion": "", "kind": "", "name": "", "uid": ""}]},
        ),
        ({"spec": {"replicas": None, "template": None, "strategy": {"rollingUpdate": None}}}, {}),
    ],
)
def test_nulls_are_what_go_makes_of_them(given, kept):
    assert schema.decode(node(), given) == schema.Decoded(deployment_meta(kept))


def test_a_null_body_is_an_empty_object():
    assert schema.decode(node(), None) == schema.Decoded(NOTHING)
    assert schema.decode(node(), {}) == schema.Decoded(NOTHING)


def test_free_form_fields_keep_nulls_and_anything():
    revision = {"data": {"a": None, "b": [None, {"c": 1}]}, "revision": 1, "metadata": {}}
    assert schema.decode(node("apps.v1.ControllerRevision"), copy.deepcopy(revision)).value == revision


def test_normalising_keeps_wrong_types():
    obj = {"spec": {"replicas": "x", "foo": 1, "paused": None}}
    assert schema.normalise(node(), obj) == {**NOTHING, "spec": {"replicas": "x", **NOTHING["spec"]}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(string.printable, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["metadata", "spec", "name", "labels", "containers", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(JSON)
def test_decoding_is_idempotent_and_never_fails_otherwise(value):
    pod = node("core.v1.Pod")
    decoded = schema.decode(pod, objects.deep_copy(value))
    if decoded.error is None:
        again = schema.decode(pod, objects.deep_copy(decoded.value))
        assert again == schema.Decoded(decoded.value)


CRD = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"


def test_items_of_a_schema_that_are_no_schema_count_as_nothing():
    node = schema.load().definition(CRD)
    assert schema.decode(node, {"type": "array", "items": True}).value == {"type": "array"}
    assert schema.decode(node, {"items": [{"type": "string", "what": 1}]}).value == {"items": [{"type": "string"}]}


def test_additional_properties_are_a_schema_or_a_boolean():
    node = schema.load().definition(CRD)
    assert schema.decode(node, {"additionalProperties": False}).value == {"additionalProperties": False}
    assert schema.decode(node, {"additionalProperties": []}).error == "boolean or JSON schema expected"
