"""A second scheduler as a Deployment, as Kubernetes' own instructions have it, out of an image of this installation."""

from __future__ import annotations

import json
from pathlib import Path

from e2e_harness import DEMO_IMAGE, Cluster, Kubectl, eventually

EXAMPLE = Path(__file__).parents[2] / "examples" / "second-scheduler"
IMAGE = "localhost/sampan:latest"


def test_a_second_scheduler_runs_as_a_deployment_and_takes_its_own_pods(cluster: Cluster, kubectl: Kubectl) -> None:
    cluster.sampan("image", "self", "--name", cluster.name)
    system = Kubectl(kubectl.program, cluster, "kube-system")
    try:
        system("apply", "-f", str(EXAMPLE))
        system("rollout", "status", "deployment/my-scheduler", "--timeout=120s")
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "annotation-second-scheduler"},
            "spec": {
                "schedulerName": "my-scheduler",
                "containers": [{"name": "c", "image": DEMO_IMAGE, "command": ["sleep", "600"]}],
            },
        }
        kubectl("create", "-f", "-", stdin=json.dumps(pod))
        kubectl("wait", "--for=condition=Ready", "pod/annotation-second-scheduler", "--timeout=60s")
        chosen = "--field-selector=involvedObject.name=annotation-second-scheduler,reason=Scheduled"
        [event] = eventually(lambda: kubectl.json("get", "events", chosen)["items"])
        assert event["source"]["component"] == "my-scheduler"
        lease = system.json("get", "lease", "my-scheduler")
        assert lease["spec"]["holderIdentity"].startswith("my-scheduler-")
    finally:
        kubectl.run("delete", "pod", "annotation-second-scheduler", "--now", check=False)
        system.run("delete", "-f", str(EXAMPLE), "--timeout=60s", check=False)
        system.run("wait", "--for=delete", "pod", "-l", "component=scheduler", "--timeout=60s", check=False)
        cluster.sampan("image", "rm", IMAGE, "--name", cluster.name, check=False)
