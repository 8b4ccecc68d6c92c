"""Deployments and the other kinds with pod templates: defaults, faults, immutability."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sampan.api import errors, gates, metadata
from sampan.api.kind import Kind
from sampan.api.registry import registry


def kind_of(group: str, plural: str, version: str = "v1") -> Kind:
    kind = registry().by_resource(group, version, plural)
    assert kind is not None
    return kind


def workload(kind: Kind, **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    obj: dict[str, Any] = {
        "metadata": {"name": "w", "namespace": "n", "uid": "u"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template, **spec},
    }
    obj["spec"] = {key: value for key, value in obj["spec"].items() if value is not None}
    kind.default(obj)
    return obj


DEPLOYMENT = kind_of("apps", "deployments")


@pytest.mark.parametrize("plural", ["deployments", "replicasets", "statefulsets", "daemonsets"])
def test_a_plain_workload_is_valid_and_its_selector_is_not_changed(plural: str) -> None:
    kind = kind_of("apps", plural)
    old = workload(kind)
    assert kind.validate(old) == []
    new = copy.deepcopy(old)
    assert kind.validate_update(new, old) == []
    new["spec"]["selector"] = {"matchLabels": {"app": "y"}}
    assert kind.validate_update(new, old) != []


@pytest.mark.parametrize("plural", ["deployments", "replicasets", "statefulsets", "daemonsets"])
def test_the_selector_must_match_the_template(plural: str) -> None:
    kind = kind_of("apps", plural)
    (fault,) = kind.validate(workload(kind, selector={"matchLabels": {"app": "y"}}))
    assert fault.field == "spec.template.metadata.labels"
    assert fault.detail == 'Invalid value: {"app":"x"}: `selector` does not match template `labels`'


def test_deployment_defaults() -> None:
    spec = workload(DEPLOYMENT)["spec"]
    assert spec["replicas"] == 1
    assert spec["revisionHistoryLimit"] == 10
    assert spec["progressDeadlineSeconds"] == 600
    assert spec["strategy"] == {
        "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }  # fmt: skip
    assert "enableServiceLinks" not in spec["template"]["spec"]


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"replicas": -1}, "spec.replicas", "FieldValueInvalid"),
        ({"selector": {}}, "spec.selector", "FieldValueInvalid"),
        ({"selector": None}, "spec.selector", "FieldValueRequired"),
        ({"minReadySeconds": 600}, "spec.progressDeadlineSeconds", "FieldValueInvalid"),
        ({"strategy": {"type": "Foo"}}, "spec.strategy", "FieldValueNotSupported"),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
            "spec.strategy.rollingUpdate", "FieldValueForbidden",
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
            "spec.strategy.rollingUpdate.maxUnavailable", "FieldValueInvalid",
        ),
        (
            {"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
            "spec.strategy.rollingUpdate.maxUnavailable", "FieldValueInvalid",
        ),
    ],
)  # fmt: skip
def test_a_bad_deployment_is_refused(spec: dict[str, Any], field: str, reason: str) -> None:
    found = [(fault.field, fault.reason) for fault in DEPLOYMENT.validate(workload(DEPLOYMENT, **spec))]
    assert (field, reason) in found


def test_pods_of_a_deployment_always_restart() -> None:
    obj = workload(DEPLOYMENT)
    obj["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    (fault,) = DEPLOYMENT.validate(obj)
    text = 'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
    assert fault.message() == text


def test_a_replication_controller_takes_its_selector_from_the_template() -> None:
    kind = kind_of("", "replicationcontrollers")
    obj = workload(kind, selector=None)
    assert obj["spec"]["selector"] == {"app": "x"}
    assert obj["metadata"]["labels"] == {"app": "x"}
    assert kind.validate(obj) == []


def test_only_some_fields_of_a_stateful_set_change() -> None:
    kind = kind_of("apps", "statefulsets")
    old = workload(kind)
    assert kind.validate_update(workload(kind, replicas=3), old) == []
    (fault,) = kind.validate_update(workload(kind, serviceName="x"), old)
    assert fault.detail.startswith("Forbidden: updates to statefulset spec for fields other than 'replicas', ")


def test_a_stateful_set_with_faults_of_old_may_still_be_changed() -> None:
    kind = kind_of("apps", "statefulsets")
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": []}}
    old = workload(kind, serviceName="Not_A_Label", template=template)
    assert [fault.field for fault in kind.validate(old)] == ["spec.serviceName", "spec.template.spec.containers"]
    new = copy.deepcopy(old)
    new["spec"]["replicas"] = 3
    assert kind.validate_update(new, old) == []
    sound = workload(kind)
    broken = copy.deepcopy(sound)
    broken["spec"]["template"]["spec"]["containers"] = []
    assert [fault.field for fault in kind.validate_update(broken, sound)] == ["spec.template.spec.containers"]


def test_containers_mount_what_only_claim_templates_declare() -> None:
    """A claim of the same name stands in for a volume of the template."""
    kind = kind_of("apps", "statefulsets")
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    mount = {"name": "data", "mountPath": "/data"}
    template: dict[str, Any] = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "i", "volumeMounts": [mount]}]},
    }
    claims = [{"metadata": {"name": "data"}, "spec": claim}]
    assert kind.validate(workload(kind, template=template, volumeClaimTemplates=claims)) == []
    assert kind.validate(workload(kind, template=copy.deepcopy(template))) != []
    template["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    stateful_set = workload(kind, template=template, volumeClaimTemplates=claims)
    assert kind.validate(stateful_set) == []
    assert stateful_set["spec"]["template"]["spec"]["volumes"] == [{"name": "data", "emptyDir": {}}]


def test_annotations_count_as_a_generation_of_a_deployment_alone() -> None:
    old = {"metadata": {"generation": 4}, "spec": {}}
    new = {"metadata": {"generation": 4, "annotations": {"a": "b"}}, "spec": {}}
    for plural, wanted in (("deployments", 5), ("replicasets", 4)):
        assert metadata.next_generation(new, old, counted=kind_of("apps", plural).counted_metadata) == wanted


def test_a_time_zone_in_a_schedule_is_tolerated_where_it_was() -> None:
    kind = kind_of("batch", "cronjobs")
    job = {"template": {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}}
    old = {"metadata": {"name": "c"}, "spec": {"schedule": "CRON_TZ=UTC 0 0 * * *", "jobTemplate": {"spec": job}}}
    kind.default(old)
    new = copy.deepcopy(old)
    new["metadata"]["labels"] = {"a": "b"}
    assert [fault.field for fault in kind.validate(new)] == ["spec.schedule"]
    assert kind.validate_update(new, old) == []
    assert [text[:25] for text in kind.warnings(new, old)] == ["CRON_TZ or TZ used in spe"]
    new["spec"]["timeZone"] = "Etc/UTC"
    (fault,) = kind.validate_update(new, old)
    assert fault.detail.endswith(": cannot use both timeZone field and TZ or CRON_TZ in schedule")


def test_a_lease_forgets_how_its_holder_is_chosen_while_that_is_off() -> None:
    kind = kind_of("coordination.k8s.io", "leases")
    lease = {"metadata": {"name": "l"}, "spec": {"strategy": "Youngest", "preferredHolder": "h", "holderIdentity": "h"}}
    assert kind.gated is not None
    gates.drop(kind.gated, lease, None)
    assert lease["spec"] == {"holderIdentity": "h"}


def test_a_job_selects_its_own_pods_by_uid() -> None:
    kind = kind_of("batch", "jobs")
    obj = workload(kind, selector=None)
    obj["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    kind.prepare_create(obj)
    assert obj["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}
    assert obj["spec"]["template"]["metadata"]["labels"]["job-name"] == "w"
    assert (obj["spec"]["completions"], obj["spec"]["parallelism"], obj["spec"]["backoffLimit"]) == (1, 1, 6)
    assert kind.validate(obj) == []
    changed = copy.deepcopy(obj)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    assert [fault.field for fault in kind.validate_update(changed, obj)] == ["spec.template"]


@pytest.mark.parametrize(("own", "shown"), [(None, True), ({"app": "x"}, False)])
def test_a_job_without_labels_shows_all_of_its_template(own: dict[str, str] | None, shown: bool) -> None:
    kind = kind_of("batch", "jobs")
    obj: dict[str, Any] = {"metadata": {"name": "w", "uid": "u"}, "spec": {}}
    obj["metadata"] |= {"labels": own} if own else {}
    obj["spec"]["template"] = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [], "restartPolicy": "Never"},
    }
    kind.default(obj)
    kind.prepare_create(obj)
    assert obj["spec"]["template"]["metadata"]["labels"].keys() > {"app", "job-name"}
    assert (obj["metadata"]["labels"] == obj["spec"]["template"]["metadata"]["labels"]) is shown
    assert obj["metadata"]["labels"]["app"] == "x"


@pytest.mark.parametrize(
    ("schedule", "fine"),
    [
        ("*/5 * * * *", True), ("0 0 1 jan mon-fri", True), ("@hourly", True), ("@every 1h30m", True),
        ("1,2,3-9/2 ? * * *", True), ("* * * *", False), ("60 * * * *", False), ("*/0 * * * *", False),
        ("5-1 * * * *", False), ("@never", False), ("", False), ("TZ=UTC * * * * *", False),
    ],
)  # fmt: skip
def test_cron_schedules(schedule: str, fine: bool) -> None:
    kind = kind_of("batch", "cronjobs")
    job = {"template": {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}}
    obj = {"metadata": {"name": "c"}, "spec": {"schedule": schedule, "jobTemplate": {"spec": job}}}
    kind.default(obj)
    assert ([fault.field for fault in kind.validate(obj)] == []) is fine


def test_several_faults_make_one_error_with_causes() -> None:
    faults = DEPLOYMENT.validate(workload(DEPLOYMENT, replicas=-1, revisionHistoryLimit=-1))
    status = errors.invalid_object("Deployment", "w", faults, "apps").status()
    assert [cause["field"] for cause in status["details"]["causes"]] == ["spec.replicas", "spec.revisionHistoryLimit"]
