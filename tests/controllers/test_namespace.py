import dataclasses

import pytest

from sampan.api.errors import ServiceUnavailable
from sampan.api.resources import CONFIG_MAPS, EVENTS, NAMESPACES, PODS, SERVICE_ACCOUNTS
from sampan.client.keys import ObjectKey
from sampan.controllers.context import ControllersConfig
from sampan.controllers.namespace.contents import Remaining
from sampan.controllers.namespace.deletion import NamespaceDeletionController, plan_conditions
from sampan.controllers.namespace.rootca import RootCaPublisher
from sampan.controllers.namespace.serviceaccounts import ServiceAccountController

pytestmark = pytest.mark.timeout(60)


def namespace(name="team", **meta):
    return {
        "metadata": {"name": name, **meta},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


async def test_every_namespace_has_its_default_account_and_ca(api, context, running, wait):
    context = dataclasses.replace(context, config=ControllersConfig(root_ca_pem="PEM"))
    async with running(ServiceAccountController(context), RootCaPublisher(context)):
        api.add(NAMESPACES, namespace())
        await wait.quiet(api)
        assert api.get(SERVICE_ACCOUNTS, "team", "default") is not None
        assert api.get(CONFIG_MAPS, "team", "kube-root-ca.crt")["data"] == {"ca.crt": "PEM"}
        api.remove(SERVICE_ACCOUNTS, "team", "default")
        api.change(CONFIG_MAPS, "team", "kube-root-ca.crt", lambda obj: obj.update(data={}))
        await wait.quiet(api)
    assert api.get(SERVICE_ACCOUNTS, "team", "default") is not None
    assert api.get(CONFIG_MAPS, "team", "kube-root-ca.crt")["data"] == {"ca.crt": "PEM"}


async def test_pods_go_first_then_the_rest_then_the_namespace(api, context, running, wait):
    api.add(NAMESPACES, namespace(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["hold"]))
    api.add(PODS, {"metadata": {"name": "p", "namespace": "team"}, "spec": {"nodeName": "n1"}})
    api.add(CONFIG_MAPS, {"metadata": {"name": "c", "namespace": "team"}})
    api.add(CONFIG_MAPS, {"metadata": {"name": "elsewhere", "namespace": "other"}})
    async with running(NamespaceDeletionController(context)):
        await wait.quiet(api)
        assert "deletionTimestamp" in api.get(PODS, "team", "p")["metadata"]
        assert api.get(CONFIG_MAPS, "team", "c") is not None
        status = api.get(NAMESPACES, "", "team")["status"]
        assert status["phase"] == "Terminating"
        messages = {entry["type"]: entry["message"] for entry in status["conditions"]}
        assert "pods. has 1 resource instances" in messages["NamespaceContentRemaining"]
        api.remove(PODS, "team", "p")
        await wait.quiet(api)
    assert [obj["metadata"]["name"] for obj in api.all(CONFIG_MAPS)] == ["elsewhere"]
    assert api.get(NAMESPACES, "", "team")["spec"]["finalizers"] == []


async def test_events_go_last_and_are_not_followed(api, context, running, wait):
    api.add(NAMESPACES, namespace(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["hold"]))
    api.add(PODS, {"metadata": {"name": "p", "namespace": "team"}, "spec": {"nodeName": "n1"}})
    for where in ("team", "other"):
        api.add(EVENTS, {"metadata": {"name": "e", "namespace": where}, "involvedObject": {"name": "p"}})
    controller = NamespaceDeletionController(context)
    assert EVENTS not in controller._contents
    async with running(controller):
        await wait.quiet(api)
        assert api.get(EVENTS, "team", "e") is not None
        api.remove(PODS, "team", "p")
        await wait.quiet(api)
    assert [obj["metadata"]["namespace"] for obj in api.all(EVENTS)] == ["other"]
    assert api.get(NAMESPACES, "", "team")["spec"]["finalizers"] == []


def test_conditions_name_finalizers_and_errors(now):
    found = Remaining({"pods.": 2}, {"example.com/x": 1}, ("widgets: denied",))
    by_type = {entry["type"]: entry for entry in plan_conditions((), found, now)}
    assert by_type["NamespaceDeletionContentFailure"]["status"] == "True"
    assert by_type["NamespaceFinalizersRemaining"]["message"] == (
        "Some content in the namespace has finalizers remaining: example.com/x in 1 resource instances"
    )
    assert len(by_type) == 5


async def test_a_namespace_that_cannot_be_emptied_backs_off_longer_each_time(api, context, running, wait):
    class Refusing:
        async def __call__(self, *arguments, **more):
            raise ServiceUnavailable("no")

    controller = NamespaceDeletionController(context)
    controller._client.raw = Refusing()
    api.add(NAMESPACES, namespace(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["hold"]))
    api.add(CONFIG_MAPS, {"metadata": {"name": "c", "namespace": "team"}})
    queue, key = controller._controller.queue, ObjectKey("", "team")
    async with running(controller):
        await wait.until(lambda: queue.failures(key) >= 3)
        status = api.get(NAMESPACES, "", "team")["status"]
    messages = {entry["type"]: entry["message"] for entry in status["conditions"]}
    assert messages["NamespaceDeletionContentFailure"].endswith("configmaps: no")
