"""What a component of this process is given is its own: whatever it does to it, nobody else sees."""

from __future__ import annotations

from typing import Any

from sampan.api.resources import PODS
from sampan.client.client import Client

URL = "/api/v1/namespaces/default/pods"
POD = {
    "metadata": {"name": "one"},
    "spec": {"containers": [{"name": "c", "image": "app:1", "resources": {"requests": {"cpu": "1"}}}]},
}


async def test_pods_of_one_template_that_a_component_lists_are_its_own(api: Any) -> None:
    for name in ("one", "other"):
        assert (await api("POST", URL, {**POD, "metadata": {"name": name}})).status == 201
    storage = api.server.surface.by_resource(PODS).storage
    release = storage.cache.keep()  # as for those who look at the cache's own objects, which share their parts
    one, other = (storage.cached(storage.key("default", name)).object() for name in ("one", "other"))
    assert one["spec"]["containers"][0] is other["spec"]["containers"][0]
    client = Client(api.server.local_transport())
    before = (await api("GET", f"{URL}/other")).obj["spec"]
    changed, untouched = (await client.list(PODS))["items"]
    changed["spec"]["tolerations"].append({"operator": "Exists"})
    changed["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "2"
    changed["spec"]["securityContext"]["runAsUser"] = 0
    for spec in (untouched["spec"], one["spec"], other["spec"], (await client.list(PODS))["items"][0]["spec"]):
        assert spec == before
    release()
