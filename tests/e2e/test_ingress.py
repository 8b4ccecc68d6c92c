"""Ingress from outside to real pods, driven by stock kubectl."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time

from e2e_harness import Cluster, Kubectl, eventually
from e2e_manifests import web

from sampan.cluster import instance as instances
from sampan.cluster.supervisor import read_status

INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  annotations: {nginx.ingress.kubernetes.io/configuration-snippet: "return 200;"}
spec:
  rules:
    - host: %(host)s
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
          - {path: /none, pathType: Exact, backend: {service: {name: absent, port: {number: 80}}}}
"""


class Load:
    """Requests one after another, kept-alive connections, until stopped."""

    def __init__(self, port: int, host: str, threads: int = 3) -> None:
        self.port, self.host, self.answered = port, host, 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self._stop.is_set():
            try:
                connection.request("GET", "/", headers={"Host": self.host})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failures.append(f"status {answer.status}")
                self.answered += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            time.sleep(0.01)
        connection.close()


def asked(port: int, host: str, path: str = "/") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def test_an_ingress_leads_to_pods_and_loses_nothing_while_they_and_its_controller_change(
    kubectl: Kubectl, cluster: Cluster
) -> None:
    """[sig-network] Ingress API should support creating Ingress API operations, and what it is for."""
    instance = instances.load(cluster.name)
    port, host = instance.node.ingress_http_port, f"{kubectl.namespace}.example"
    kubectl("apply", "-f", "-", stdin=web(replicas=2))
    kubectl("apply", "-f", "-", stdin=INGRESS % {"host": host})
    kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    eventually(lambda: asked(port, host) == 200)
    assert (asked(port, "other.example"), asked(port, host, "/none")) == (404, 503)
    address = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    eventually(lambda: kubectl("get", "ingress", "web", "-o", address) == instance.node.address)
    assert kubectl("get", "ingress", "web", "-o", "jsonpath={.spec.ingressClassName}") == "sampan"
    told = eventually(lambda: {event["reason"] for event in kubectl.json("get", "events")["items"]} & {"Served"})
    assert told
    of_ingress = ("get", "events", "--field-selector", "involvedObject.kind=Ingress")
    wanted = ("configuration-snippet is refused", f":{port}")
    eventually(lambda: (events := kubectl(*of_ingress)) and all(words in events for words in wanted))
    node = f"/api/v1/nodes/{instance.node.name}/proxy/metrics/ingress"
    assert "haproxy_backend_http_requests_total{" in kubectl("get", "--raw", node)
    with Load(port, host) as load:
        kubectl("apply", "-f", "-", stdin=web(replicas=2, annotation="two"))
        os.kill(read_status(instance)["node"]["pid"], signal.SIGKILL)
        kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
        eventually(lambda: load.answered > 300)
    assert load.failures == []
    kubectl("delete", "ingress", "web")
    eventually(lambda: asked(port, host) in (0, 404))
