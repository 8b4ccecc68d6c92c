"""A cluster that has IPv6 and nothing else: from ``sampan up`` to a Service."""

from __future__ import annotations

from e2e_harness import eventually
from e2e_manifests import web
from machines_lab import Machines, reaches


def test_pods_services_dns_and_kubectl_work_without_ipv4(ipv6_machine: Machines) -> None:
    kubectl = ipv6_machine.cluster.kubectl()
    kubectl("apply", "-f", "-", stdin=web(replicas=2))
    kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    pods = kubectl.json("get", "pods", "-l", "app=web")["items"]
    for pod in pods:
        assert [":" in each["ip"] for each in pod["status"]["podIPs"]] == [True]
    assert kubectl.json("get", "service", "web")["spec"]["ipFamilies"] == ["IPv6"]
    names = {pod["metadata"]["name"] for pod in pods}
    eventually(lambda: {reaches(kubectl, min(names), "http://web.default").strip() for _ in range(6)} == names)
    assert kubectl("exec", min(names), "--", "hostname").strip() == min(names)
    # The API server is reached at its Service's address, whose certificate has it.
    env = kubectl("exec", min(names), "--", "env")
    assert f"KUBERNETES_SERVICE_HOST={kubectl.json('get', 'service', 'kubernetes')['spec']['clusterIP']}\n" in env
    assert "KUBERNETES_SERVICE_HOST=fd00:" in env
    (slice_,) = kubectl.json("get", "endpointslices", "-l", "kubernetes.io/service-name=kubernetes")["items"]
    assert slice_["addressType"] == "IPv6"
    assert slice_["endpoints"][0]["addresses"] == [ipv6_machine[1].ipv6]
