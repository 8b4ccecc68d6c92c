"""Upstream's tutorial on several schedulers: a second one with a configuration, a ServiceAccount and rights of its own.

The second scheduler is a process of its own, which speaks HTTPS with its ServiceAccount's token.
"""

import asyncio
import sys

import pytest

from sampan.api.pods import status
from sampan.api.resources import (
    CLUSTER_ROLE_BINDINGS,
    EVENTS,
    PODS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
)
from sampan.client import tasks
from sampan.client.informer import Informer
from sampan.testing.cluster import Cluster

pytestmark = pytest.mark.timeout(180)

CONFIG = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
  - schedulerName: my-scheduler
leaderElection:
  leaderElect: false
clientConnection:
  kubeconfig: {kubeconfig}
"""
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{url}", certificate-authority: {ca}}}}}]
users: [{{name: u, user: {{token: {token}}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"""
PLUGIN = """
from sampan.scheduler.plugins.base import NodeFilter


class EvenNodes(NodeFilter):
    name = "EvenNodes"

    def refuse(self, pod, node):
        return "" if node["metadata"]["name"].endswith(("0", "2")) else "node(s) were odd"
"""


def pod(name, **spec):
    body = {"containers": [{"name": "c", "image": "registry.k8s.io/pause:2.0"}], **spec}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"}, "spec": body}


async def give_rights(client):
    """The tutorial's ServiceAccount and bindings; returns a token."""
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "my-scheduler"}}, "kube-system")
    subject = {"kind": "ServiceAccount", "name": "my-scheduler", "namespace": "kube-system"}
    group = "rbac.authorization.k8s.io"
    for name in ("system:kube-scheduler", "system:volume-scheduler"):
        role = {"kind": "ClusterRole", "name": name, "apiGroup": group}
        binding = {"metadata": {"name": f"my-scheduler-{name[7:]}"}, "subjects": [subject], "roleRef": role}
        await client.create(CLUSTER_ROLE_BINDINGS, binding)
    role = {"kind": "Role", "name": "extension-apiserver-authentication-reader", "apiGroup": group}
    binding = {"metadata": {"name": "my-scheduler-reader"}, "subjects": [subject], "roleRef": role}
    await client.create(ROLE_BINDINGS, binding, "kube-system")
    request = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}}
    path = "/api/v1/namespaces/kube-system/serviceaccounts/my-scheduler/token"
    return (await client.raw("POST", path, request))["status"]["token"]


async def start(directory, cluster, token):
    (directory / "kubeconfig").write_text(
        KUBECONFIG.format(url=cluster.url, ca=cluster.kubeconfig().parent / "pki" / "ca.crt", token=token)
    )
    (directory / "config.yaml").write_text(CONFIG.format(kubeconfig=directory / "kubeconfig"))
    (directory / "plugin.py").write_text(PLUGIN)
    code = "from sampan.cli.entry import main; main()"
    with (directory / "log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, "scheduler", "--config", str(directory / "config.yaml"),
            "--plugin-files", str(directory / "plugin.py"), "--secure-port", "0", stderr=log,
        )  # fmt: skip


async def unless_it_ends(program, waiting):
    ended, met = asyncio.ensure_future(program.wait()), asyncio.ensure_future(waiting)
    await asyncio.wait([ended, met], return_when=asyncio.FIRST_COMPLETED)
    assert met.done(), f"the program ended with {program.returncode}"
    await tasks.cancel_and_wait(ended)


def find(pods, name):
    return pods.get("default", name) or {}


def node_of(pods, name):
    return (find(pods, name).get("spec") or {}).get("nodeName", "")


async def test_a_second_scheduler_takes_the_pods_that_name_it_and_no_others(tmp_path):
    async with Cluster(tmp_path / "cluster", nodes=4) as cluster:
        pods = Informer(cluster.client, PODS)
        following = tasks.detach(pods.run(), "pods")
        await cluster.client.create(PODS, pod("no-annotation"), "default")
        await cluster.client.create(PODS, pod("default", schedulerName="default-scheduler"), "default")
        await cluster.client.create(PODS, pod("second", schedulerName="my-scheduler"), "default")
        await pods.wait_until(lambda: bool(node_of(pods, "no-annotation") and node_of(pods, "default")))
        assert not node_of(pods, "second")
        program = await start(tmp_path, cluster, await give_rights(cluster.client))
        try:
            await unless_it_ends(program, pods.wait_until(lambda: bool(node_of(pods, "second"))))
            assert node_of(pods, "second") in ("node-0", "node-2")
            body = pod("odd", schedulerName="my-scheduler", nodeSelector={"kubernetes.io/hostname": "node-1"})
            await cluster.client.create(PODS, body, "default")
            await pods.wait_until(lambda: status.condition(find(pods, "odd"), "PodScheduled") is not None)
            told = status.condition(find(pods, "odd"), "PodScheduled")["message"]
            assert "1 node(s) were odd" in told
            await scheduled_by(cluster.client, "second", "my-scheduler")
        finally:
            if program.returncode is None:
                program.terminate()
            await program.wait()
            await tasks.cancel_and_wait(following)
        assert program.returncode == 0


async def scheduled_by(client, name, component):
    selector = f"involvedObject.name={name},reason=Scheduled"
    events = Informer(client, EVENTS, field_selector=selector)
    following = tasks.detach(events.run(), "events")
    await events.wait_until(lambda: any(e["source"]["component"] == component for e in events.list()))
    await tasks.cancel_and_wait(following)


@pytest.mark.parametrize(("content", "said"), [
    ("kind: Pod", "no kind"), ("nonsense: [", "--config"),
    ("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\npodMaxBackoffSeconds: 0\n",
     "must be greater than or equal to PodInitialBackoffSeconds"),
])  # fmt: skip
async def test_a_wrong_file_is_told_before_anything_starts(tmp_path, content, said):
    (tmp_path / "config.yaml").write_text(content)
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from sampan.cli.entry import main; main()", "scheduler", "--config",
        str(tmp_path / "config.yaml"), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await program.communicate()
    assert program.returncode not in (0, None)
    text = (out + err).decode()
    assert said in text and "Traceback" not in text
