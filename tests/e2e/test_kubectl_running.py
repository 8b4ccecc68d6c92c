"""What people do with kubectl to running containers and nodes, by each kubectl there is."""

from __future__ import annotations

import hashlib
import re
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from e2e_harness import Kubectl, eventually
from e2e_manifests import IMAGE, pod, web

pytestmark = pytest.mark.timeout(400)

LOGGER = 'n=0; while true; do n=$((n+1)); echo "line $n"; sleep 0.3; done'


@pytest.fixture
def running(each_kubectl: Kubectl) -> Kubectl:
    """A pod ``p`` that writes a line three times a second."""
    each_kubectl("apply", "-f", "-", stdin=pod("p", LOGGER))
    each_kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=90s")
    return each_kubectl


def test_logs(running: Kubectl) -> None:
    """Kubectl logs logs should be able to retrieve and filter logs"""
    eventually(lambda: len(running("logs", "p").splitlines()) >= 3)
    assert running("logs", "p").startswith("line 1\n")
    assert len(running("logs", "p", "--tail=2").splitlines()) == 2
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z line ", running("logs", "p", "--timestamps", "--tail=1"))
    eventually(lambda: "line 1\n" not in running("logs", "p", "--since=1s"))  # once it is a second old
    assert running("logs", "p", "-c", "main", "--limit-bytes=4") == "line"
    assert "container nope is not valid for pod p" in running.fails("logs", "p", "-c", "nope")
    assert "not found" in running.fails("logs", "absent")


def test_logs_follow(running: Kubectl) -> None:
    follow = running.popen("logs", "-f", "p", "--tail=1")
    try:
        assert follow.stdout is not None
        lines = [follow.stdout.readline() for _ in range(3)]
        numbers = [int(line.split()[1]) for line in lines]
        assert numbers == list(range(numbers[0], numbers[0] + 3))
    finally:
        follow.kill()
        follow.communicate()


def test_logs_of_the_previous_container(each_kubectl: Kubectl) -> None:
    each_kubectl("apply", "-f", "-", stdin=pod("again", "echo once; sleep 1; exit 3"))
    eventually(
        lambda: each_kubectl("get", "pod", "again", "-o", "jsonpath={.status.containerStatuses[0].restartCount}") >= "1"
    )
    assert each_kubectl("logs", "-p", "again") == "once\n"


def test_exec_passes_output_input_and_exit_code(running: Kubectl) -> None:
    assert running("exec", "p", "--", "echo", "a b") == "a b\n"
    assert running("exec", "-i", "p", "--", "cat", stdin="through\nstdin\n") == "through\nstdin\n"
    done = running.run("exec", "p", "--", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (done.stdout, done.returncode) == ("out\n", 7)
    assert "err" in done.stderr


def test_exec_loses_nothing_and_ends_when_the_command_does(running: Kubectl) -> None:
    text = "0123456789abcdef" * 1_875_000
    told = running("exec", "-i", "p", "--", "sh", "-c", "cat > /tmp/f; sha256sum < /tmp/f", stdin=text)
    assert told.split()[0] == hashlib.sha256(text.encode()).hexdigest()
    done = running.run("exec", "-i", "p", "--", "sh", "-c", "head -c 5; exit 4", stdin=text, check=False, timeout=20)
    assert (done.stdout, done.returncode) == ("01234", 4)


def test_exec_with_a_terminal(running: Kubectl) -> None:
    import pexpect

    child = pexpect.spawn(
        str(running.program),
        ["-n", running.namespace, "exec", "-it", "p", "--", "sh"],
        env=running.cluster.env,
        timeout=60,
        dimensions=(31, 97),
    )
    child.expect("[#$] ")
    child.sendline("stty size")
    child.expect("31 97")
    child.sendline("exit 4")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 4


def test_attach_follows_a_container(running: Kubectl) -> None:
    attach = running.popen("attach", "p")
    try:
        assert attach.stdout is not None
        seen = [attach.stdout.readline() for _ in range(2)]
        assert any(line.startswith("line ") for line in seen)
    finally:
        attach.kill()
        attach.communicate()


def test_cp_both_ways(running: Kubectl, tmp_path: Path) -> None:
    there, back = tmp_path / "there.txt", tmp_path / "back.txt"
    there.write_text("some text\n" * 1000)
    running("cp", str(there), f"{running.namespace}/p:/tmp/there.txt")
    running("cp", f"{running.namespace}/p:/tmp/there.txt", str(back))
    assert back.read_text() == there.read_text()


def test_port_forward_to_a_pod_and_a_service(each_kubectl: Kubectl) -> None:
    each_kubectl("apply", "-f", "-", stdin=web(replicas=1))
    each_kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    name = each_kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
    for target, port in ((f"pod/{name}", 8080), ("service/web", 80)):
        forward = each_kubectl.popen("port-forward", target, f":{port}")
        try:
            assert forward.stdout is not None
            local = int(re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())[1])  # type: ignore[index]
            for _ in range(3):
                assert fetch(f"http://127.0.0.1:{local}/").strip() == name
        finally:
            forward.kill()
            forward.communicate()


def test_proxy_serves_the_api_and_services(each_kubectl: Kubectl) -> None:
    each_kubectl("apply", "-f", "-", stdin=web(replicas=1))
    each_kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    proxy = each_kubectl.popen("proxy", "--port=0")
    try:
        assert proxy.stdout is not None
        address = re.search(r"127\.0\.0\.1:\d+", proxy.stdout.readline())[0]  # type: ignore[index]
        assert '"major": "1"' in fetch(f"http://{address}/version")
        path = f"/api/v1/namespaces/{each_kubectl.namespace}/services/web/proxy/"
        assert fetch(f"http://{address}{path}").startswith("web-")
    finally:
        proxy.kill()
        proxy.communicate()


def test_run_expose_and_scale(each_kubectl: Kubectl) -> None:
    each_kubectl("run", "one", f"--image={IMAGE}", "--labels=app=one", "--port=80", "--", "sleep", "3600")
    each_kubectl("expose", "pod", "one", "--port=80", "--name=one")
    assert each_kubectl("get", "service", "one", "-o", "jsonpath={.spec.selector.app}") == "one"
    each_kubectl("create", "deployment", "d", f"--image={IMAGE}")
    each_kubectl("scale", "deployment", "d", "--replicas=0")
    assert each_kubectl("get", "deployment", "d", "-o", "jsonpath={.spec.replicas}") == "0"
    assert "Invalid value: -1" in each_kubectl.fails(
        "patch", "deployment", "d", "-p", '{"spec":{"replicas":-1}}'
    )  # kubectl scale refuses negatives itself


def test_rollout_history_undo_pause_resume_restart(each_kubectl: Kubectl) -> None:
    each_kubectl("apply", "-f", "-", stdin=web(replicas=1))
    each_kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    each_kubectl(
        "patch", "deployment", "web", "-p", '{"spec":{"template":{"metadata":{"annotations":{"note":"two"}}}}}'
    )
    each_kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)
    assert [line.split()[0] for line in each_kubectl("rollout", "history", "deployment/web").splitlines()[2:4]] == [
        "1",
        "2",
    ]
    assert "note: two" in each_kubectl("rollout", "history", "deployment/web", "--revision=2")
    each_kubectl("rollout", "undo", "deployment/web")
    assert note_of(each_kubectl) == "one"
    each_kubectl("rollout", "pause", "deployment/web")
    each_kubectl("set", "env", "deployment/web", "A=1")
    assert "restart paused deployment" in each_kubectl.fails("rollout", "restart", "deployment/web")
    each_kubectl("rollout", "resume", "deployment/web")
    each_kubectl("rollout", "restart", "deployment/web")
    each_kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout=130)


def note_of(kubectl: Kubectl) -> str:
    return kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.template.metadata.annotations.note}")


def test_set_image_starts_one_rollout(each_kubectl: Kubectl) -> None:
    each_kubectl("apply", "-f", "-", stdin=web(replicas=1))
    each_kubectl("set", "image", "deployment/web", "web=docker.io/sampan/e2e:2")
    eventually(lambda: len(each_kubectl("get", "rs", "-l", "app=web", "-o", "name").splitlines()) == 2)


def test_taint_cordon_and_drain(each_kubectl: Kubectl) -> None:
    node = each_kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    each_kubectl("run", "bare", f"--image={IMAGE}", "--", "sleep", "3600")
    try:
        each_kubectl("taint", "nodes", node, "e2e=yes:NoSchedule")
        assert "e2e=yes:NoSchedule" in each_kubectl("describe", "node", node)
        each_kubectl("taint", "nodes", node, "e2e-")
        each_kubectl("cordon", node)
        assert "SchedulingDisabled" in each_kubectl("get", "node", node)
        selector = ["--pod-selector=run=bare", "--grace-period=1", "--timeout=120s"]
        assert "not managed" in each_kubectl.fails("drain", node, *selector).replace(
            "declare no controller", "not managed"
        )
        each_kubectl("drain", node, "--force", "--ignore-daemonsets", *selector, timeout=150)
        assert "NotFound" in each_kubectl.fails("get", "pod", "bare")
    finally:
        each_kubectl.run("uncordon", node, check=False)
        each_kubectl.run("taint", "nodes", node, "e2e-", check=False)


def fetch(url: str) -> str:
    """The body of a page, by no proxy; retried while the listener is just coming up."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for attempt in range(20):
        try:
            with opener.open(url, timeout=10) as answer:
                return str(answer.read().decode())
        except (TimeoutError, urllib.error.URLError):
            if attempt == 19:
                raise
            time.sleep(0.1)
    raise AssertionError("unreachable")
