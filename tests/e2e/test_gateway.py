"""A Gateway from outside to real pods, driven by stock kubectl."""

from __future__ import annotations

import http.client

from e2e_harness import Cluster, Kubectl, eventually
from e2e_manifests import web

from sampan.cluster import instance as instances

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: sampan
  listeners:
    - {name: http, port: 80, protocol: HTTP, hostname: "*.%(zone)s"}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: edge}]
  hostnames: ["app.%(zone)s"]
  rules:
    - backendRefs: [{name: web, port: 80}]
      filters:
        - type: ResponseHeaderModifier
          responseHeaderModifier: {set: [{name: x-by, value: gateway}]}
    - matches: [{path: {type: PathPrefix, value: /none}}]
      backendRefs: [{name: absent, port: 80}]
"""


def asked(port: int, host: str, path: str = "/") -> tuple[int, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.getheader("x-by")
    except OSError:
        return 0, None
    finally:
        connection.close()


def test_a_gateway_leads_to_pods_and_its_objects_are_told(kubectl: Kubectl, cluster: Cluster) -> None:
    instance = instances.load(cluster.name)
    port, zone = instance.node.ingress_http_port, f"{kubectl.namespace}.example"
    eventually(lambda: "sampan" in kubectl("get", "gatewayclass", "-o", "name"))
    kubectl("apply", "-f", "-", stdin=web(replicas=2))
    kubectl("apply", "-f", "-", stdin=GATEWAY % {"zone": zone})
    kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    kubectl("wait", "--for=condition=Programmed", "gateway/edge", "--timeout=60s", timeout=70)
    eventually(lambda: asked(port, f"app.{zone}") == (200, "gateway"))
    assert asked(port, f"app.{zone}", "/none")[0] == 500
    assert asked(port, f"other.{zone}")[0] == 404
    columns = kubectl("get", "gateway", "edge", "--no-headers").split()
    assert columns[:4] == ["edge", "sampan", instance.node.address, "True"]
    told = kubectl.json("get", "httproute", "web")["status"]["parents"][0]["conditions"]
    reasons = {each["type"]: each["reason"] for each in told}
    assert reasons == {"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"}
    assert kubectl("get", "gateway", "edge", "-o", "jsonpath={.status.listeners[0].attachedRoutes}") == "1"
    kubectl("delete", "gateway", "edge")
    eventually(lambda: asked(port, f"app.{zone}")[0] in (0, 404))
    eventually(lambda: kubectl.json("get", "httproute", "web")["status"]["parents"] == [])
