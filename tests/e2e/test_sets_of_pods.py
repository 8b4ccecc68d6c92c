"""DaemonSets and StatefulSets in real containers, through stock kubectl."""

from __future__ import annotations

from e2e_harness import Kubectl, described, eventually
from e2e_manifests import IMAGE, pod

SERVER = 'command: [sh, -c, "mkdir -p /www; hostname -f > /www/index.html; exec httpd -f -p 8080 -h /www"]'
STATEFUL_SET = f"""
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{clusterIP: None, selector: {{app: web}}, ports: [{{port: 8080}}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: web}}
spec:
  serviceName: web
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: {IMAGE}
          {SERVER}
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
"""
DAEMON_SET = f"""
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: agent}}
spec:
  selector: {{matchLabels: {{app: agent}}}}
  template:
    metadata: {{labels: {{app: agent}}}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{{operator: Exists}}]
      containers: [{{name: agent, image: "{IMAGE}", {SERVER}}}]
"""


def test_pods_of_a_stateful_set_have_names_that_resolve_and_keep(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=STATEFUL_SET)
    kubectl("rollout", "status", "statefulset/web", "--timeout=120s", timeout=130)
    assert kubectl("get", "statefulset", "web", "--no-headers").split()[:2] == ["web", "2/2"]
    kubectl("apply", "-f", "-", stdin=pod("visitor"))
    kubectl("wait", "pod/visitor", "--for=condition=Ready", "--timeout=90s")

    def read(host: str) -> str:
        done = kubectl.run("exec", "visitor", "--", "wget", "-q", "-O", "-", f"http://{host}:8080/", check=False)
        return done.stdout.strip()

    for name in ("web-0", "web-1"):
        eventually(lambda name=name: read(f"{name}.web").startswith(f"{name}.web."))
    before = kubectl("get", "pod", "web-1", "-o", "jsonpath={.metadata.uid}")
    kubectl("delete", "pod", "web-1")
    eventually(
        lambda: kubectl.run(
            "get", "pod", "web-1", "-o", "jsonpath={.metadata.uid}", check=False
        ).stdout not in ("", before)
    )  # fmt: skip
    kubectl("rollout", "status", "statefulset/web", "--timeout=120s", timeout=130)
    eventually(lambda: read("web-1.web").startswith("web-1.web."))
    kubectl("scale", "statefulset/web", "--replicas=1", "--timeout=60s")
    eventually(lambda: kubectl("get", "pods", "-l", "app=web", "-o", "name").split() == ["pod/web-0"])


def test_a_daemon_runs_on_the_node_whatever_taints_it_and_rolls(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DAEMON_SET)
    kubectl("rollout", "status", "daemonset/agent", "--timeout=120s", timeout=130)
    row = kubectl("get", "daemonset", "agent", "--no-headers").split()
    assert row[:6] == ["agent", "1", "1", "1", "1", "1"]
    kubectl("set", "env", "daemonset/agent", "ROUND=2")
    kubectl("rollout", "status", "daemonset/agent", "--timeout=120s", timeout=130)
    [name] = kubectl("get", "pods", "-l", "app=agent", "-o", "name").split()
    assert kubectl("exec", name, "--", "sh", "-c", "echo $ROUND").strip() == "2"
    described(kubectl, "daemonset", "agent", says=["Desired Number of Nodes Scheduled: 1", "SuccessfulCreate"])
    kubectl("rollout", "undo", "daemonset/agent")
    kubectl("rollout", "status", "daemonset/agent", "--timeout=120s", timeout=130)
    eventually(lambda: len(kubectl("get", "pods", "-l", "app=agent", "-o", "name").split()) == 1)
    [name] = kubectl("get", "pods", "-l", "app=agent", "-o", "name").split()
    assert kubectl("exec", name, "--", "sh", "-c", "echo $ROUND").strip() == ""
