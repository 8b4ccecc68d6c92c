"""Network policies on a real cluster: what they stop, what they let through, and pods that begin under them."""

from __future__ import annotations

import json
from typing import Any

from e2e_harness import Cluster, Kubectl, eventually
from e2e_manifests import pod, web

GET = ("wget", "-q", "-O", "/dev/null")
DENY_ALL = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny-all}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
"""
#: Clients may go out to the web, and it takes what comes from them.
ALLOW = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {role: client}}}], ports: [{port: http}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: clients}
spec:
  podSelector: {matchLabels: {role: client}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: web}}}]}]
"""


def asked(kubectl: Kubectl, client: str, url: str) -> bool:
    """Whether the client reaches a web server there."""
    return kubectl.run("exec", client, "--", "timeout", "1", *GET, url, check=False).returncode == 0


def drops(cluster: Cluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cluster.sampan("net", "drops", "-o", "json").stdout)
    return found


def path(cluster: Cluster, kubectl: Kubectl) -> dict[str, Any]:
    """Of a connection from the client to the Service."""
    done = cluster.sampan("net", "path", "client", "svc/web", "-n", kubectl.namespace, "-o", "json", check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (found["answer"] != "reaches")
    return found


def test_what_is_denied_does_not_arrive_and_what_is_allowed_does(cluster: Cluster, kubectl: Kubectl) -> None:
    """By pod address and by Service; the node's own requests and a pod that begins under a policy among it."""
    kubectl("apply", "-f", "-", stdin=web(replicas=1))
    kubectl("apply", "-f", "-", stdin=pod("client"))
    kubectl("label", "pod", "client", "role=client")
    kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=90s")
    service = f"http://{kubectl.json('get', 'service', 'web')['spec']['clusterIP']}/"
    server = f"http://{kubectl.json('get', 'pods', '-l', 'app=web')['items'][0]['status']['podIP']}:8080/"
    eventually(lambda: asked(kubectl, "client", service))

    assert "Warning" not in kubectl.run("apply", "-f", "-", stdin=DENY_ALL).stderr
    eventually(lambda: not asked(kubectl, "client", service))
    assert not asked(kubectl, "client", server)
    # It is told who was stopped, and by what.
    client = f"{kubectl.namespace}/client"
    stopped = eventually(lambda: [drop for drop in drops(cluster) if drop["pod"] == client])[0]
    assert (stopped["direction"], stopped["policies"]) == ("egress", [f"NetworkPolicy {kubectl.namespace}/deny-all"])
    assert not path(cluster, kubectl)["endpoints"][0]["allowed"]
    # A pod whose first act is to ask never gets an answer, however early it is.
    tries = f"for i in 1 2; do timeout 1 {' '.join(GET)} {server} && echo reached; done; echo ended; sleep 3600"
    kubectl("apply", "-f", "-", stdin=pod("newcomer", command=tries))
    eventually(lambda: "ended" in kubectl.run("logs", "newcomer", check=False).stdout)
    assert "reached" not in kubectl("logs", "newcomer")

    kubectl("apply", "-f", "-", stdin=ALLOW)
    eventually(lambda: asked(kubectl, "client", service))
    eventually(lambda: asked(kubectl, "client", server))
    assert not asked(kubectl, "newcomer", server)
    assert path(cluster, kubectl)["endpoints"][0]["ingress"]["policy"]["name"] == "web"
    kubectl("label", "pod", "client", "role-")
    eventually(lambda: not asked(kubectl, "client", server))
    # The kubelet's probes come from the node, which nothing stops.
    eventually(lambda: kubectl.json("get", "deployment", "web")["status"].get("readyReplicas") == 1)
    kubectl("delete", "networkpolicy", "--all")
    eventually(lambda: asked(kubectl, "newcomer", server))
