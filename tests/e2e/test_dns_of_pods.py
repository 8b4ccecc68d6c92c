"""Pods take the place of the cluster's own DNS, as the manifests of CoreDNS and kube-dns have it, and leave it."""

from __future__ import annotations

import contextlib
import json

from e2e_harness import DEMO_IMAGE, Kubectl, eventually
from e2e_manifests import pod
from network_scene import _PLACES, _PYTHON, volumes

#: Answers whatever it is asked for with one address.
PROGRAM = """
import os, signal, socket
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
card = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
card.bind(("", 5353))
while True:
    packet, client = card.recvfrom(4096)
    end = packet.index(b"\\0", 12) + 5
    count = b"\\0\\1" if packet[end - 4:end] == b"\\0\\1\\0\\1" else b"\\0\\0"
    head = packet[:2] + b"\\x85\\x80\\0\\1" + count + bytes(4)
    record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x05\\0\\4\\xc0\\0\\2\\x4d" if head[7] else b""
    card.sendto(head + packet[12:end] + record, client)
"""


def server() -> str:
    container = {
        "name": "dns", "image": DEMO_IMAGE, "imagePullPolicy": "IfNotPresent",
        "command": [_PYTHON, "-I", "-S", "-c", PROGRAM],
        "volumeMounts": [{"name": f"place-{n}", "mountPath": path, "readOnly": True} for n, path in enumerate(_PLACES)],
    }  # fmt: skip
    meta = {"name": "e2e-dns", "labels": {"e2e": "dns"}}
    spec = {"containers": [container], "volumes": volumes(), "terminationGracePeriodSeconds": 1}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})


def test_a_dns_server_in_pods_answers_a_stub_domain_and_then_the_cluster_once_its_service_selects_it(
    kubectl: Kubectl,
) -> None:
    """DNS: stub domains; CoreDNS or kube-dns can take the place of the nodes' own servers, and leave it."""
    admin = Kubectl(kubectl.program, kubectl.cluster, "kube-system")
    kubectl("apply", "-f", "-", stdin=pod("asks"))
    kubectl("wait", "--for=condition=Ready", "pod/asks")
    at = "kubernetes.default.svc.cluster.local."

    def found(name: str = at) -> str:
        return kubectl.run("exec", "asks", "--", "nslookup", "-type=a", name, check=False, timeout=30).stdout

    address = admin("get", "service", "kubernetes", "-n", "default", "-o", "jsonpath={.spec.clusterIP}")
    eventually(lambda: address in found())
    node = kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    metrics = kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics/dns")
    assert 'coredns_dns_requests_total{server="dns://:53",zone=".",view="",proto="udp",family="1",type="A"}' in metrics
    # Where scrapers of CoreDNS look: the Service's port.
    for path, told in (("metrics", "coredns_dns_requests_total{"), ("health", "OK"), ("ready", "OK")):
        assert told in kubectl("exec", "asks", "--", "wget", "-qO-", f"http://kube-dns.kube-system:9153/{path}")
    corefile = ".:53 {\n hosts {\n  192.0.2.99 by-corefile.example\n  fallthrough\n }\n rewrite stop\n}\n"
    admin("create", "configmap", "coredns", f"--from-literal=Corefile={corefile}")
    try:
        eventually(lambda: "192.0.2.99" in found("by-corefile.example."))
        eventually(lambda: "line 6: nothing acts on 'rewrite stop'" in admin("get", "events"))
    finally:
        admin("delete", "configmap", "coredns")
    ports = [{"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 5353}]
    before = json.loads(admin("get", "service", "kube-dns", "-o", "json"))["spec"]["ports"]
    with contextlib.ExitStack() as undo:
        slices = ("endpointslices", "-l", "kubernetes.io/service-name=kube-dns")
        undo.callback(admin.run, "delete", *slices, check=False)
        undo.callback(admin.run, "delete", "pod", "e2e-dns", "--ignore-not-found", "--wait=false", check=False)
        restored = json.dumps({"spec": {"selector": None, "ports": before}})
        undo.callback(admin.run, "patch", "service", "kube-dns", "--type", "merge", "-p", restored, check=False)
        admin("apply", "-f", "-", stdin=server())
        admin("wait", "--for=condition=Ready", "pod/e2e-dns")
        # As the server of a stub domain, which the nodes' own servers follow at once.
        undo.callback(admin.run, "delete", "configmap", "kube-dns", "--ignore-not-found", check=False)
        server_of = admin("get", "pod", "e2e-dns", "-o", "jsonpath={.status.podIP}")
        domains = json.dumps({"corp.example": [f"{server_of}:5353"]})
        written = (f"--from-literal=stubDomains={domains}", "--from-literal=upstreamPolicy=best")
        admin("create", "configmap", "kube-dns", *written)
        eventually(lambda: "192.0.2.77" in found("db.corp.example."))
        assert address in found()
        eventually(lambda: "choose sequential, random, round_robin" in admin("describe", "configmap", "kube-dns"))

        taken = json.dumps({"spec": {"selector": {"e2e": "dns"}, "ports": ports}})
        admin("patch", "service", "kube-dns", "--type", "merge", "-p", taken)
        eventually(lambda: "192.0.2.77" in found())
    eventually(lambda: address in found())
