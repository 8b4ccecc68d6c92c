"""Client libraries of Python, unmodified: ``kubernetes``, ``kubernetes_asyncio``, ``lightkube`` and ``kr8s``.

Each makes, reads, lists, watches, patches in every way, applies and deletes built-in and custom objects.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import kr8s
import kr8s.asyncio
import kubernetes_asyncio as k8s_async
import lightkube
import pytest
from client_harness import Served
from kr8s.asyncio.objects import ConfigMap as Kr8sConfigMap
from kr8s.asyncio.objects import new_class
from kubernetes import client as k8s
from kubernetes import dynamic
from kubernetes import watch as k8s_watch
from kubernetes_asyncio.dynamic import DynamicClient as AsyncDynamicClient
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.core_v1 import Container, EnvVar, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap
from lightkube.types import CascadeType, PatchType

# Third-party clients warn of their own dependencies; that is not ours to fail on.
pytestmark = pytest.mark.filterwarnings("ignore")

APPLY = "application/apply-patch+yaml"
GROUP, VERSION = "clients.example.com", "v1"
JSON_PATCH = [{"op": "add", "path": "/data/json", "value": "1"}]


def config_map(name: str = "c", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def gadget(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Gadget", "metadata": {"name": "g"}, "spec": spec}


class TestKubernetes:
    """github.com/kubernetes-client/python"""

    def test_typed_objects(self, official: Any, namespace: str) -> None:
        core = k8s.CoreV1Api(official)
        made = core.create_namespaced_config_map(namespace, config_map(a="1"))
        read = core.read_namespaced_config_map("c", namespace)
        read.data["b"] = "2"
        core.replace_namespaced_config_map("c", namespace, read)
        with pytest.raises(k8s.ApiException) as raised:
            core.replace_namespaced_config_map("c", namespace, made)
        assert raised.value.status == 409
        core.delete_namespaced_config_map("c", namespace)
        with pytest.raises(k8s.ApiException) as raised:
            core.read_namespaced_config_map("c", namespace)
        assert raised.value.status == 404

    def test_every_patch_and_apply(self, official: Any, namespace: str) -> None:
        core = k8s.CoreV1Api(official)
        core.create_namespaced_config_map(namespace, config_map(a="1"))
        core.patch_namespaced_config_map("c", namespace, JSON_PATCH)
        core.patch_namespaced_config_map("c", namespace, {"data": {"strategic": "1"}})
        options = {"field_manager": "one", "_content_type": APPLY}
        core.patch_namespaced_config_map("c", namespace, config_map(applied="1"), **options)
        core.patch_namespaced_config_map(
            "c", namespace, {"data": {"a": None}}, _content_type="application/merge-patch+json"
        )
        kept = core.read_namespaced_config_map("c", namespace)
        assert kept.data == {"json": "1", "strategic": "1", "applied": "1"}
        applied = [each.manager for each in kept.metadata.managed_fields if each.operation == "Apply"]
        assert applied == ["one"]
        with pytest.raises(k8s.ApiException, match="conflict") as raised:
            other = {"field_manager": "two", "_content_type": APPLY}
            core.patch_namespaced_config_map("c", namespace, config_map(applied="2"), **other)
        assert raised.value.status == 409

    def test_watch(self, official: Any, namespace: str) -> None:
        core = k8s.CoreV1Api(official)
        revision = core.list_namespaced_config_map(namespace).metadata.resource_version
        core.create_namespaced_config_map(namespace, config_map("watched"))
        core.delete_namespaced_config_map("watched", namespace)
        watch = k8s_watch.Watch()
        seen = []
        for event in watch.stream(
            core.list_namespaced_config_map, namespace, resource_version=revision, timeout_seconds=60
        ):
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == 2:
                watch.stop()
        assert seen == [("ADDED", "watched"), ("DELETED", "watched")]

    @pytest.mark.usefixtures("gadgets")
    def test_custom_objects(self, official: Any, namespace: str) -> None:
        gadgets = dynamic.DynamicClient(official).resources.get(api_version=f"{GROUP}/{VERSION}", kind="Gadget")
        assert gadgets.create(gadget(colour="red"), namespace=namespace).spec.replicas == 1
        gadgets.patch(
            {"spec": {"colour": "blue"}}, name="g", namespace=namespace, content_type="application/merge-patch+json"
        )
        gadgets.server_side_apply(
            gadget(replicas=2), name="g", namespace=namespace, field_manager="one", force_conflicts=True
        )
        assert gadgets.get(name="g", namespace=namespace).spec.to_dict() == {"colour": "blue", "replicas": 2}
        gadgets.status.patch(
            {"status": {"replicas": 2}}, name="g", namespace=namespace, content_type="application/merge-patch+json"
        )
        assert gadgets.scale.get(name="g", namespace=namespace).status.replicas == 2
        assert [each.metadata.name for each in gadgets.get(namespace=namespace).items] == ["g"]
        gadgets.delete(name="g", namespace=namespace)
        with pytest.raises(dynamic.exceptions.NotFoundError):
            gadgets.get(name="g", namespace=namespace)


class TestKubernetesAsyncio:
    """github.com/tomplus/kubernetes_asyncio"""

    @pytest.fixture
    async def client(self, served: Served) -> AsyncIterator[Any]:
        async with await k8s_async.config.new_client_from_config(str(served.kubeconfig)) as client:
            yield client

    async def test_typed_objects_patches_and_apply(self, client: Any, namespace: str) -> None:
        core = k8s_async.client.CoreV1Api(client)
        await core.create_namespaced_config_map(namespace, config_map(a="1"))
        await core.patch_namespaced_config_map("c", namespace, JSON_PATCH, _content_type="application/json-patch+json")
        merge = {"_content_type": "application/merge-patch+json"}
        await core.patch_namespaced_config_map("c", namespace, {"data": {"a": None}}, **merge)
        strategic = {"_content_type": "application/strategic-merge-patch+json"}
        await core.patch_namespaced_config_map("c", namespace, {"data": {"strategic": "1"}}, **strategic)
        applied = {"field_manager": "one", "_content_type": APPLY}
        await core.patch_namespaced_config_map("c", namespace, config_map(applied="1"), **applied)
        read = await core.read_namespaced_config_map("c", namespace)
        assert read.data == {"json": "1", "strategic": "1", "applied": "1"}
        read.data = {"replaced": "1"}
        await core.replace_namespaced_config_map("c", namespace, read)
        await core.delete_namespaced_config_map("c", namespace)
        with pytest.raises(k8s_async.client.ApiException) as raised:
            await core.read_namespaced_config_map("c", namespace)
        assert raised.value.status == 404

    async def test_watch(self, client: Any, namespace: str) -> None:
        core = k8s_async.client.CoreV1Api(client)
        revision = (await core.list_namespaced_config_map(namespace)).metadata.resource_version
        await core.create_namespaced_config_map(namespace, config_map("watched"))
        await core.delete_namespaced_config_map("watched", namespace)
        seen = []
        async with k8s_async.watch.Watch().stream(
            core.list_namespaced_config_map, namespace, resource_version=revision, timeout_seconds=60
        ) as events:
            async for event in events:
                seen.append((event["type"], event["object"].metadata.name))
                if len(seen) == 2:
                    break
        assert seen == [("ADDED", "watched"), ("DELETED", "watched")]

    @pytest.mark.usefixtures("gadgets")
    async def test_custom_objects(self, client: Any, namespace: str) -> None:
        gadgets = await (await AsyncDynamicClient(client)).resources.get(
            api_version=f"{GROUP}/{VERSION}", kind="Gadget"
        )
        made = await gadgets.create(body=gadget(colour="red"), namespace=namespace)
        assert made.spec.replicas == 1
        merge = {"content_type": "application/merge-patch+json"}
        await gadgets.patch(body={"spec": {"colour": "blue"}}, name="g", namespace=namespace, **merge)
        apply = {"field_manager": "one", "force_conflicts": True}
        await gadgets.server_side_apply(body=gadget(replicas=2), name="g", namespace=namespace, **apply)
        assert (await gadgets.get(name="g", namespace=namespace)).spec.to_dict() == {"colour": "blue", "replicas": 2}
        await gadgets.delete(name="g", namespace=namespace)


class TestLightkube:
    """github.com/gtsystem/lightkube"""

    @pytest.fixture
    def client(self, served: Served, namespace: str) -> lightkube.Client:
        config = lightkube.KubeConfig.from_file(served.kubeconfig)
        return lightkube.Client(config, namespace=namespace, field_manager="light")

    def test_typed_objects_and_every_patch(self, client: Any) -> None:
        client.create(ConfigMap(metadata=ObjectMeta(name="c"), data={"a": "1"}))
        client.patch(ConfigMap, "c", JSON_PATCH, patch_type=PatchType.JSON)
        client.patch(ConfigMap, "c", {"data": {"a": None}}, patch_type=PatchType.MERGE)
        client.patch(ConfigMap, "c", {"data": {"strategic": "1"}}, patch_type=PatchType.STRATEGIC)
        read = client.get(ConfigMap, "c")
        assert read.data == {"json": "1", "strategic": "1"}
        read.data["replaced"] = "1"
        client.replace(read)
        client.patch(ConfigMap, "c", {"metadata": {"labels": {"team": "a"}}})
        assert [each.metadata.name for each in client.list(ConfigMap, labels={"team": "a"})] == ["c"]
        client.delete(ConfigMap, "c", cascade=CascadeType.FOREGROUND)
        with pytest.raises(lightkube.ApiError) as raised:
            client.get(ConfigMap, "c")
        assert raised.value.status.code == 404

    def test_apply_of_typed_objects(self, client: Any) -> None:
        labels = {"app": "d"}

        def deployment(*names: str) -> Deployment:
            env = [EnvVar(name=name, value="1") for name in names]
            spec = PodSpec(containers=[Container(name="c", image="example.com/c:1", env=env)])
            template = PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=spec)
            selector = LabelSelector(matchLabels=labels)
            return Deployment(metadata=ObjectMeta(name="d"), spec=DeploymentSpec(selector=selector, template=template))

        client.apply(deployment("A", "B"))
        client.apply(deployment("B", "C"))
        kept = client.get(Deployment, "d")
        assert [each.name for each in kept.spec.template.spec.containers[0].env] == ["B", "C"]
        assert [each.manager for each in kept.metadata.managedFields if each.operation == "Apply"] == ["light"]

    def test_watch(self, client: Any) -> None:
        client.create(ConfigMap(metadata=ObjectMeta(name="watched")))
        for event, each in client.watch(ConfigMap, fields={"metadata.name": "watched"}):
            if event == "DELETED":
                break
            assert (event, each.metadata.name) == ("ADDED", "watched")
            client.delete(ConfigMap, "watched")

    @pytest.mark.usefixtures("gadgets")
    def test_custom_objects(self, client: Any) -> None:
        kind = create_namespaced_resource(GROUP, VERSION, "Gadget", "gadgets")
        made = client.create(kind(metadata=ObjectMeta(name="g"), spec={"colour": "red"}))
        assert made.spec == {"colour": "red", "replicas": 1}
        client.patch(kind, "g", {"spec": {"colour": "blue"}}, patch_type=PatchType.MERGE)
        client.apply(kind(metadata=ObjectMeta(name="g"), spec={"replicas": 2}), force=True)
        client.patch(kind.Status, "g", {"status": {"replicas": 2}}, patch_type=PatchType.MERGE)
        read = client.get(kind, "g")
        assert (read.spec, read.status) == ({"colour": "blue", "replicas": 2}, {"replicas": 2})
        client.delete(kind, "g")


class TestKr8s:
    """github.com/kr8s-org/kr8s"""

    @pytest.fixture
    async def api(self, served: Served) -> AsyncIterator[Any]:
        made = await kr8s.asyncio.api(kubeconfig=str(served.kubeconfig))
        yield made
        await made._session.aclose()  # the library leaves it open

    async def test_typed_objects_patches_and_watch(self, api: Any, namespace: str) -> None:
        made = await Kr8sConfigMap(config_map(a="1"), namespace=namespace, api=api)
        await made.create()
        await made.patch(JSON_PATCH, type="json")
        await made.patch({"data": {"a": None}})
        await made.label({"team": "a"})
        await made.annotate({"note": "x"})
        found = [each async for each in api.get("configmaps", namespace=namespace, label_selector={"team": "a"})]
        assert [each.data.to_dict() for each in found] == [{"json": "1"}]

        async def until_deleted() -> list[str]:
            events = []
            async for event, each in api.watch("configmaps", namespace=namespace, field_selector="metadata.name=c"):
                events.append(event)
                if event == "ADDED":
                    await each.delete()
                if event == "DELETED":
                    break
            return events

        assert await asyncio.wait_for(until_deleted(), 60) == ["ADDED", "DELETED"]
        assert not await made.exists()

    @pytest.mark.usefixtures("gadgets")
    async def test_custom_objects(self, api: Any, namespace: str) -> None:
        kind = new_class("Gadget", f"{GROUP}/{VERSION}", namespaced=True, scalable=True)
        made = await kind(gadget(colour="red"), namespace=namespace, api=api)
        await made.create()
        assert made.spec.replicas == 1
        await made.scale(3)
        await made.patch({"spec": {"colour": "blue"}}, type="merge")
        await made.patch({"status": {"replicas": 3}}, subresource="status")
        await made.refresh()
        assert (made.spec.to_dict(), made.status.replicas) == ({"colour": "blue", "replicas": 3}, 3)
        await made.delete()
