"""The plugins that upstream leaves off, and the smaller ones that are on: what they complete and refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import orjson
import pytest

from sampan.api.errors import ApiError, Forbidden, NotFound, TooManyRequests
from sampan.api.resources import NAMESPACES, NODES, STORAGE_CLASSES
from sampan.server.admission import names
from sampan.server.admission.base import Plugin
from sampan.server.admission.chain import default_plugins
from sampan.server.admission.optional.blanket import AlwaysDeny
from sampan.server.admission.optional.events import Buckets, EventRateLimit, Limit
from sampan.server.admission.optional.images import AlwaysPullImages
from sampan.server.admission.optional.namespaces import NamespaceExists
from sampan.server.admission.optional.owners import OwnerReferencesPermissionEnforcement
from sampan.server.admission.optional.placing import (
    LimitPodHardAntiAffinityTopology,
    NodeSelectors,
    PodNodeSelector,
    parse_labels,
)
from sampan.server.admission.optional.tolerating import (
    ExtendedResourceToleration,
    PodTolerationRestriction,
    TolerationRules,
    contains,
    merged,
)
from sampan.server.admission.storage import PersistentVolumeClaimResize
from sampan.server.admission.topology import PodTopologyLabels
from sampan.server.app import Server
from sampan.server.attributes import AdmissionAttributes, AuthorizationAttributes, Decision
from sampan.server.config import ServerConfig
from sampan.store.memory import MemoryStore

WriteOf = Callable[..., AdmissionAttributes]


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def namespace(**annotations: Any) -> dict[str, Any]:
    written = {f"scheduler.alpha.kubernetes.io/{key}": value for key, value in annotations.items()}
    return {"metadata": {"name": "ns", "annotations": written}}


async def refusal(plugin: Plugin, attributes: AdmissionAttributes) -> str:
    with pytest.raises(ApiError) as caught:
        await plugin.admit(attributes)
        await plugin.validate(attributes)
    return caught.value.message


def test_the_names_that_can_be_switched_are_those_of_the_plugins(reader: Any, seeded: Random) -> None:
    others = {"ResourceQuota", "MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "ValidatingAdmissionPolicy",
              "ValidatingAdmissionWebhook"}  # fmt: skip
    there = [plugin.name for plugin in default_plugins(reader, Grants(), seeded)]
    assert set(there) | others == names.ALL
    assert len(there) == len(set(there))


# Images


async def test_images_are_pulled_always_by_whatever_container(write: WriteOf) -> None:
    made = pod(initContainers=[{"name": "i", "imagePullPolicy": "Never"}], volumes=[{"name": "v", "image": {}}])
    await AlwaysPullImages().admit(write("pods", made))
    assert [c["imagePullPolicy"] for c in made["spec"]["containers"] + made["spec"]["initContainers"]] == ["Always"] * 2
    assert made["spec"]["volumes"][0]["image"]["pullPolicy"] == "Always"
    made["spec"]["containers"][0]["imagePullPolicy"] = "Never"
    with pytest.raises(Forbidden) as caught:
        await AlwaysPullImages().validate(write("pods", made))
    assert caught.value.message == (
        'pods "p" is forbidden: spec.containers[0].imagePullPolicy: Unsupported value: "Never": '
        'supported values: "Always"'
    )


async def test_an_update_without_new_images_is_left_alone(write: WriteOf) -> None:
    old = pod(containers=[{"name": "c", "image": "i", "imagePullPolicy": "IfNotPresent"}])
    await AlwaysPullImages().validate(write("pods", old, old=old, operation="UPDATE"))
    new = pod(containers=[{"name": "c", "image": "j", "imagePullPolicy": "IfNotPresent"}])
    await AlwaysPullImages().admit(write("pods", new, old=old, operation="UPDATE"))
    assert new["spec"]["containers"][0]["imagePullPolicy"] == "Always"


# Everything, and namespaces


async def test_always_deny_denies_deletions_too(write: WriteOf) -> None:
    text = 'pods "p" is forbidden: admission control is denying all modifications'
    assert await refusal(AlwaysDeny(), write("pods", None, old=pod(), operation="DELETE")) == text


async def test_a_namespace_has_to_exist(reader: Any, write: WriteOf) -> None:
    with pytest.raises(NotFound, match='namespaces "ns" not found'):
        await NamespaceExists(reader).validate(write("pods", pod()))
    reader.put(NAMESPACES, {"metadata": {"name": "ns"}})
    await NamespaceExists(reader).validate(write("pods", pod()))


@pytest.fixture
async def provisioning(clock: Any) -> AsyncIterator[Server]:
    config = ServerConfig(
        listen=False,
        bootstrap=False,
        openapi=False,
        authorization_modes=("AlwaysAllow",),
        enable_admission_plugins=("NamespaceAutoProvision",),
        clock=clock,
        random=Random(1),
    )
    async with Server(config, store=MemoryStore(clock=clock)) as server:
        yield server


async def test_a_namespace_is_made_with_what_is_first_put_into_it(
    provisioning: Server, api_of: Any, clock: Any
) -> None:
    api = api_of(provisioning, clock)
    path = "/api/v1/namespaces/new/configmaps"
    rehearsal = await api("POST", f"{path}?dryRun=All", {"metadata": {"name": "m"}})
    assert (rehearsal.status, (await api("GET", "/api/v1/namespaces/new")).status) == (404, 404)
    made = await asyncio.gather(*(api("POST", path, {"metadata": {"name": f"m{index}"}}) for index in range(5)))
    assert [answer.status for answer in made] == [201] * 5
    assert (await api("GET", "/api/v1/namespaces/new")).status == 200


# Where pods go


async def test_the_namespace_says_where_its_pods_go(reader: Any, write: WriteOf) -> None:
    reader.put(NAMESPACES, namespace(**{"node-selector": "disk=ssd, zone=a"}))
    made = pod(nodeSelector={"cpu": "fast"})
    await PodNodeSelector(reader).admit(write("pods", made))
    assert made["spec"]["nodeSelector"] == {"disk": "ssd", "zone": "a", "cpu": "fast"}
    assert await refusal(PodNodeSelector(reader), write("pods", pod(nodeSelector={"zone": "b"}))) == (
        'pods "p" is forbidden: pod node label selector conflicts with its namespace node label selector'
    )


async def test_a_namespace_that_says_nothing_has_the_clusters_selector(reader: Any, write: WriteOf) -> None:
    reader.put(NAMESPACES, namespace())
    selectors = NodeSelectors({"a": "b"}, {"ns": {"a": "b"}})
    made = pod()
    await PodNodeSelector(reader, selectors).admit(write("pods", made))
    assert made["spec"]["nodeSelector"] == {"a": "b"}
    assert await refusal(PodNodeSelector(reader, selectors), write("pods", pod(nodeSelector={"x": "y"}))) == (
        'pods "p" is forbidden: pod node label selector labels conflict with its namespace whitelist'
    )


@pytest.mark.parametrize("written", ["a", "a=b=c d", "=x", "a b=c"])
async def test_a_selector_that_nobody_can_read_refuses_the_namespaces_pods(
    reader: Any, write: WriteOf, written: str
) -> None:
    reader.put(NAMESPACES, namespace(**{"node-selector": written}))
    assert "must be labels" in await refusal(PodNodeSelector(reader), write("pods", pod()))


def test_labels_are_read_from_text() -> None:
    assert parse_labels(" a = b ,c=,") == {"a": "b", "c": ""}


async def test_a_pod_keeps_others_from_its_node_only(write: WriteOf) -> None:
    def spread(key: str) -> dict[str, Any]:
        term = {"topologyKey": key, "labelSelector": {}}
        return pod(affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})

    await LimitPodHardAntiAffinityTopology().validate(write("pods", spread("kubernetes.io/hostname")))
    assert await refusal(LimitPodHardAntiAffinityTopology(), write("pods", spread("zone"))) == (
        'pods "p" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key '
        "kubernetes.io/hostname is allowed"
    )


async def test_a_bound_pod_gets_the_zone_and_region_of_its_node(api: Any) -> None:
    zone, region = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
    labels = {zone: "z", region: "r", "other": "o"}
    await api("POST", "/api/v1/nodes", {"metadata": {"name": "n", "labels": labels}})
    pods = "/api/v1/namespaces/default/pods"
    body = {"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await api("POST", pods, body)
    bound = await api("POST", f"{pods}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}})
    assert bound.status == 201
    assert (await api("GET", f"{pods}/p")).obj["metadata"]["labels"] == {"a": "b", zone: "z", region: "r"}


async def test_a_pod_made_on_a_node_has_its_labels_too(reader: Any, write: WriteOf) -> None:
    reader.put(NODES, {"metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z"}}})
    made = pod(nodeName="n")
    await PodTopologyLabels(reader).admit(write("pods", made))
    assert made["metadata"]["labels"] == {"topology.kubernetes.io/zone": "z"}


# Tolerations


async def test_the_namespace_adds_tolerations_and_limits_them(reader: Any, write: WriteOf) -> None:
    default = {"key": "dedicated", "operator": "Equal", "value": "ns", "effect": "NoSchedule"}
    allowed = [
        {"key": "dedicated", "operator": "Exists"},
        {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"},
    ]
    reader.put(
        NAMESPACES,
        namespace(
            defaultTolerations=orjson.dumps([default]).decode(), tolerationsWhitelist=orjson.dumps(allowed).decode()
        ),
    )
    plugin = PodTolerationRestriction(reader)
    made = pod(containers=[{"name": "c", "resources": {"requests": {"cpu": "1"}}}])
    await plugin.admit(write("pods", made))
    pressure = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}
    assert made["spec"]["tolerations"] == [default, pressure]
    await plugin.validate(write("pods", made))
    assert await refusal(plugin, write("pods", pod(tolerations=[{"key": "x", "operator": "Exists"}]))) == (
        'pods "p" is forbidden: pod tolerations (possibly merged with namespace default tolerations) conflict with its '
        "namespace whitelist"
    )


async def test_the_clusters_tolerations_are_for_namespaces_that_say_nothing(reader: Any, write: WriteOf) -> None:
    toleration = {"key": "a", "operator": "Exists"}
    plugin = PodTolerationRestriction(reader, TolerationRules(default=(toleration,)))
    reader.put(NAMESPACES, namespace())
    made = pod()
    await plugin.admit(write("pods", made))
    assert made["spec"]["tolerations"] == [toleration]
    reader.put(NAMESPACES, namespace(defaultTolerations="[]"))
    made = pod()
    await plugin.admit(write("pods", made))
    assert "tolerations" not in made["spec"]
    reader.put(NAMESPACES, namespace(defaultTolerations="{"))
    assert "is no list of tolerations" in await refusal(plugin, write("pods", pod()))


@pytest.mark.parametrize(
    ("wide", "narrow", "does"),
    [
        ({"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}, True),
        ({"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}, False),
        ({"key": "a", "value": "b"}, {"key": "a", "value": "c"}, False),
        ({"key": "a", "operator": "Exists", "effect": "NoExecute"}, {"key": "a", "operator": "Exists"}, False),
        (
            {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
            {"key": "a", "operator": "Exists", "effect": "NoExecute"},
            False,
        ),
        (
            {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
            {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5},
            True,
        ),
    ],
)
def test_a_toleration_contains_another(wide: dict[str, Any], narrow: dict[str, Any], does: bool) -> None:
    assert contains(wide, narrow) is does
    if does:
        assert merged([narrow, wide]) == [wide] == merged([wide, narrow])


async def test_tolerations_beyond_counting_are_refused(reader: Any, write: WriteOf) -> None:
    reader.put(NAMESPACES, namespace())
    many = [{"key": f"k{index}", "operator": "Exists"} for index in range(301)]
    plugin = PodTolerationRestriction(reader)
    assert "301 tolerations are more than the 300" in await refusal(plugin, write("pods", pod(tolerations=many)))
    made = pod(tolerations=many[:300])
    await plugin.admit(write("pods", made))
    assert len(made["spec"]["tolerations"]) == 300


async def test_who_asks_for_a_device_tolerates_its_taint(write: WriteOf) -> None:
    made = pod(containers=[{"name": "c", "resources": {"requests": {"example.com/gpu": "1", "cpu": "1"}}}])
    await ExtendedResourceToleration().admit(write("pods", made))
    await ExtendedResourceToleration().admit(write("pods", made, old=made, operation="UPDATE"))
    assert made["spec"]["tolerations"] == [{"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


# Events


def test_a_bucket_refills_with_time_and_forgets_the_least_used() -> None:
    buckets = Buckets(Limit("Namespace", qps=2, burst=2, cache_size=2))
    assert [buckets.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert buckets.take("a", 0.5)
    assert not buckets.take("a", 0.5)
    assert buckets.take("b", 0.5) and buckets.take("c", 0.5)
    assert buckets.take("a", 0.5)


async def test_too_many_events_of_a_namespace_are_refused(write: WriteOf) -> None:
    plugin = EventRateLimit((Limit("Namespace", 1, 1), Limit("User", 1, 9)))
    event = {"metadata": {"name": "e", "namespace": "ns"}}
    await plugin.validate(write("events", event))
    with pytest.raises(TooManyRequests, match=r"^limit reached on type Namespace for key ns$"):
        await plugin.validate(write("events", event))
    await plugin.validate(write("events", {"metadata": {"name": "e", "namespace": "other"}}))


# Owners


class Grants:
    """Allows what it was told to."""

    def __init__(self, *granted: tuple[str, str, str]) -> None:
        self.granted, self.asked = granted, list[tuple[str, str, str]]()

    def decide_now(self, attributes: AuthorizationAttributes) -> Decision | None:
        return None

    async def authorize(self, attributes: AuthorizationAttributes) -> Decision:
        self.asked.append((attributes.verb, attributes.resource, attributes.subresource))
        return Decision(self.asked[-1] in self.granted, "no")


OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u"}


async def test_whoever_cannot_delete_an_object_cannot_give_it_an_owner(write: WriteOf) -> None:
    new = {**pod(), "metadata": {"name": "p", "namespace": "ns", "ownerReferences": [OWNER]}}
    update = write("pods", new, old=pod(), operation="UPDATE")
    assert await refusal(OwnerReferencesPermissionEnforcement(Grants()), update) == (
        'pods "p" is forbidden: cannot set an ownerRef on a resource you can\'t delete: no, <nil>'
    )
    await OwnerReferencesPermissionEnforcement(Grants(("delete", "pods", ""))).validate(update)
    await OwnerReferencesPermissionEnforcement(Grants()).validate(write("pods", new))


async def test_an_owner_is_blocked_only_by_who_may_set_its_finalizers(write: WriteOf) -> None:
    new = {
        **pod(),
        "metadata": {"name": "p", "namespace": "ns", "ownerReferences": [{**OWNER, "blockOwnerDeletion": True}]},
    }
    assert "you can't set finalizers on: no, <nil>" in await refusal(
        OwnerReferencesPermissionEnforcement(Grants()), write("pods", new)
    )
    grants = Grants(("update", "replicasets", "finalizers"))
    await OwnerReferencesPermissionEnforcement(grants).validate(write("pods", new))
    assert grants.asked == [("update", "replicasets", "finalizers")]
    new["metadata"]["ownerReferences"][0]["kind"] = "Unknown"
    assert "cannot find RESTMapping for APIVersion apps/v1 Kind Unknown" in await refusal(
        OwnerReferencesPermissionEnforcement(grants), write("pods", new)
    )


# Claims


@pytest.mark.parametrize(
    ("phase", "expandable", "words"),
    [
        ("Bound", True, ""),
        ("Pending", True, "Only bound persistent volume claims can be expanded"),
        (
            "Bound",
            False,
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support "
            "resize",
        ),
    ],
)
async def test_a_claim_grows_where_its_class_allows(
    reader: Any, write: WriteOf, phase: str, expandable: bool, words: str
) -> None:
    reader.put(STORAGE_CLASSES, {"metadata": {"name": "gold"}, "allowVolumeExpansion": expandable})

    def claim(size: str) -> dict[str, Any]:
        spec = {"storageClassName": "gold", "resources": {"requests": {"storage": size}}}
        return {"metadata": {"name": "c", "namespace": "ns"}, "spec": spec, "status": {"phase": phase}}

    plugin = PersistentVolumeClaimResize(reader)
    grown = write("persistentvolumeclaims", claim("2Gi"), old=claim("1Gi"), operation="UPDATE")
    if words:
        assert await refusal(plugin, grown) == f'persistentvolumeclaims "c" is forbidden: {words}'
    else:
        await plugin.validate(grown)
    await plugin.validate(write("persistentvolumeclaims", claim("1Gi"), old=claim("1Gi"), operation="UPDATE"))
