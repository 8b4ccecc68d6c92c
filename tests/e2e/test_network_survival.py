"""Services under load while what serves them dies: no request is lost."""

from __future__ import annotations

import os
import signal

from e2e_harness import Cluster, Kubectl, eventually
from e2e_manifests import pod, web
from test_rollouts import Load
from test_survival import status_of


def test_services_work_on_while_the_node_process_is_killed(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl(
        "apply",
        "-f",
        "-",
        stdin=web(replicas=2).replace("spec:\n  selector: {app", "spec:\n  type: NodePort\n  selector: {app"),
    )
    kubectl("apply", "-f", "-", stdin=pod("client"))
    kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=90s")
    service = kubectl.json("get", "service", "web")["spec"]
    node = kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}")
    # By address: the node's DNS server lives in the process that is killed.
    get = f"wget -qO- http://{service['clusterIP']}/ >/dev/null"
    loop = f"while [ ! -e /stop ]; do {get} && echo ok || echo failed; sleep 0.05; done; echo ended"
    kubectl("exec", "client", "--", "sh", "-c", f"({loop}) >/log 2>&1 </dev/null &")
    with (
        Load(f"http://{node}:{service['ports'][0]['nodePort']}/", threads=2) as node_port,
        Load(f"http://{service['clusterIP']}/", threads=2) as cluster_ip,
    ):
        before = status_of("node")["pid"]
        os.kill(before, signal.SIGKILL)
        eventually(lambda: status_of("node")["pid"] not in (None, before))
        eventually(lambda: kubectl.run("exec", "client", "--", "touch", "/stop", check=False).returncode == 0)
        eventually(lambda: "ended" in kubectl("exec", "client", "--", "cat", "/log"))
    assert node_port.failures == cluster_ip.failures == []
    assert node_port.answered and cluster_ip.answered
    log = kubectl("exec", "client", "--", "cat", "/log").split()
    assert set(log) == {"ok", "ended"}
