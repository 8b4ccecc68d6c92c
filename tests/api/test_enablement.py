"""``--runtime-config``: which versions and resources are served, and how a wrong key is refused."""

from __future__ import annotations

import pytest

from sampan.api import enablement, gates
from sampan.api.features import Features
from sampan.api.features import gates as known_gates
from sampan.api.registry import Registry, registry


def served(runtime_config: str = "", feature_gates: str = "") -> Registry:
    return enablement.served(registry(), runtime_config, Features.parse(feature_gates))


def is_served(kinds: Registry, resource: str) -> bool:
    group, version, plural = resource.split("/")
    return kinds.by_resource(group, version, plural) is not None


def test_versions_that_are_not_ga_are_off_unless_they_are_former_ones() -> None:
    kinds = served()
    off = {
        "coordination.k8s.io/v1alpha1/leasecandidates",
        "coordination.k8s.io/v1alpha2/leasecandidates",
        "coordination.k8s.io/v1beta1/leasecandidates",
        "internal.apiserver.k8s.io/v1alpha1/storageversions",
        "lifecycle.k8s.io/v1alpha1/evictionrequests",
        "lifecycle.k8s.io/v1alpha1/evictions",
        "resource.k8s.io/v1alpha3/resourcepoolstatusrequests",
        "scheduling.k8s.io/v1alpha3/compositepodgroups",
        "scheduling.k8s.io/v1beta1/podgroups",
        "scheduling.k8s.io/v1beta1/workloads",
    }
    everything = {f"{kind.group}/{kind.version}/{kind.plural}" for kind in registry().kinds()}
    assert {each for each in everything if not is_served(kinds, each)} == off
    assert is_served(kinds, "policy/v1beta1/poddisruptionbudgets")
    assert is_served(kinds, "scheduling.k8s.io/v1beta1/priorityclasses")


def test_what_is_off_leaves_no_empty_group_no_version_and_no_storage() -> None:
    kinds = served()
    assert "lifecycle.k8s.io" not in kinds.groups()
    assert kinds.groups()["coordination.k8s.io"] == ("v1", "v1beta1")  # of Leases
    assert served("coordination.k8s.io/v1beta1=false").groups()["coordination.k8s.io"] == ("v1",)
    assert not [kind for kind in kinds.stored() if kind.kind in ("Workload", "LeaseCandidate")]


def test_the_most_exact_key_counts() -> None:
    text = "api/all=true,api/beta=false,batch/v1beta1=true,batch/v1/jobs=false,api/alpha=true"
    kinds = served(text)
    assert is_served(kinds, "batch/v1beta1/cronjobs")
    assert is_served(kinds, "batch/v1/cronjobs")
    assert not is_served(kinds, "batch/v1/jobs")
    assert not is_served(kinds, "policy/v1beta1/poddisruptionbudgets")
    assert is_served(kinds, "internal.apiserver.k8s.io/v1alpha1/storageversions")


def test_a_kind_with_a_gate_wants_its_gate_too() -> None:
    assert not is_served(served("api/all=true"), "scheduling.k8s.io/v1beta1/workloads")
    assert not is_served(served("", "GenericWorkload=true"), "scheduling.k8s.io/v1beta1/workloads")
    kinds = served("scheduling.k8s.io/v1beta1=true", "GenericWorkload=true")
    assert is_served(kinds, "scheduling.k8s.io/v1beta1/workloads")
    assert not is_served(
        served("", "ClusterTrustBundle=false,ClusterTrustBundleProjection=false"),
        "certificates.k8s.io/v1/clustertrustbundles",
    )


def test_with_everything_on_everything_is_served() -> None:
    kinds = served(enablement.ALL_VERSIONS, enablement.ALL_KINDS)
    assert kinds.groups() == registry().groups()
    assert len(kinds.kinds()) == len(registry().kinds())


def test_a_former_version_serves_on_where_todays_is_off() -> None:
    kinds = served("apps/v1/deployments=false")
    assert not is_served(kinds, "apps/v1/deployments")
    former = kinds.by_resource("apps", "v1beta1", "deployments")
    assert former is not None
    assert kinds.storage(former).version == "v1"


def test_a_gate_that_is_on_lets_its_fields_through() -> None:
    pod = served("", "ContainerStopSignals=true").by_resource("", "v1", "pods")
    assert pod is not None
    assert pod.gated is not None
    assert "ContainerStopSignals" not in gates.named(pod.gated)
    obj = {"spec": {"containers": [{"lifecycle": {"stopSignal": "SIGUSR1"}}], "schedulingGroup": {"podGroupName": "g"}}}
    gates.drop(pod.gated, obj, None)
    assert obj == {"spec": {"containers": [{"lifecycle": {"stopSignal": "SIGUSR1"}}]}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("api/all=false", "invalid key with only api/all=false"),
        ("api/all=yes", "invalid value api/all=yes"),
        ("api/beta", "invalid value api/beta="),
        ("batch", "runtime-config invalid key batch"),
        ("a/b/c/d=true", "runtime-config invalid key a/b/c/d"),
        ("nonsense/v1=true,more.io/v2=true", "unknown api groups nonsense,more.io"),
        ("/v7=true", "group version v7 that has not been registered"),
        ("batch/v7=true", "group version batch/v7 that has not been registered"),
        ("batch/v1=maybe", 'invalid value of batch/v1: maybe, err: strconv.ParseBool: parsing "maybe": invalid syntax'),
        (
            "batch/v1/Jobs=true",
            'invalid key batch/v1/Jobs: group/version/resource and resource is always lowercase plural, not "Jobs"',
        ),
        ("/v1/pods=false", "pods of v1 cannot be turned off: the server itself needs them"),
        ("api/all=false,batch/v1=true", "bindings of v1 cannot be turned off: the server itself needs them"),
    ],
)
def test_a_wrong_key_is_refused_by_its_name(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        served(text)
    assert str(caught.value) == why


def test_a_version_without_a_value_is_on() -> None:
    assert is_served(served("internal.apiserver.k8s.io/v1alpha1"), "internal.apiserver.k8s.io/v1alpha1/storageversions")


def test_every_gate_that_is_asked_for_is_a_gate() -> None:
    assert enablement.acting(registry()) <= set(known_gates())
