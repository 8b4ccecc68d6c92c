"""Three control planes and two workers on this machine, each a network namespace, with an application; then one of each
dies, and what happens is shown. Everything goes again at the end, and at Ctrl-C. Run by ``scripts/demo-cluster``."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / part) for part in ("machines", "e2e", "suite")]

from e2e_harness import DEMO_IMAGE, Kubectl, eventually  # noqa: E402
from load import Caller, Writer, running  # noqa: E402
from machines_lab import Machine, Machines  # noqa: E402
from suite_sweep import mark, sweep  # noqa: E402

CONTROL, WORKERS = 3, 2
APPLICATION = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 4
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      tolerations:
        - {{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 5}}
        - {{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 5}}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: {{matchLabels: {{app: web}}}}
      containers:
        - name: web
          image: {DEMO_IMAGE}
          command: [sh, -c, "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"]
          readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{type: NodePort, selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


@contextlib.contextmanager
def timed(text: str) -> Iterator[None]:
    print(f"  {text} ...", end="", flush=True)
    began = time.monotonic()
    try:
        yield
    except BaseException:
        print(flush=True)
        raise
    print(f" {time.monotonic() - began:.1f} s", flush=True)


class Demo:
    def __init__(self, made: Machines) -> None:
        self.made = made
        self.kubectl: Kubectl = made.cluster.kubectl()

    def run(self) -> None:
        say(f"{CONTROL} control planes with etcd, {WORKERS} workers: sampan init, and sampan join for each other")
        self.made.wire()
        with timed("made"):
            self.made.init(CONTROL)
        print(self.kubectl("get", "nodes", "-o", "wide"))
        say("An application of four pods, with a Service")
        self.kubectl("apply", "-f", "-", stdin=APPLICATION)
        with timed("it runs"):
            self.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
        print(self.kubectl("get", "pods", "-o", "wide"))
        m1, m2, m3, m4, m5 = self.made.each
        self.dies("The first control plane loses its power", lambda: self.made.lose(m1), m2)
        with timed("m1 comes back"):
            self.made.bring_back(m1)
        self.dies("A member of etcd is killed (kill -9)", lambda: self.made.kill(m2, "etcd"), m1)
        self.dies("A worker loses its power", lambda: self.made.lose(m5), m1, nodes=(m4,))
        with timed("its pods are replaced (a node is missed for 50 s, and these pods tolerate it for 5 s)"):
            eventually(lambda: self._running_at("m4") >= 4, seconds=180)
        print(self.kubectl("get", "pods", "-o", "wide"))
        with timed("m5 comes back"):
            self.made.bring_back(m5)
            eventually(lambda: " Ready" in self.kubectl("get", "node", "m5"))
        say("A machine leaves: sampan reset")
        with timed("m3 leaves"):
            m3.sampan("reset", "--force", "--name", m3.name)
        print(self.kubectl("get", "nodes"))

    def _running_at(self, node: str) -> int:
        rows = self.kubectl("get", "pods", "-l", "app=web", "-o", "wide", "--no-headers").splitlines()
        return sum(" Running " in row and node in row.split() for row in rows)

    def dies(self, text: str, what: Callable[[], None], ask: Machine, nodes: tuple[Machine, ...] = ()) -> None:
        """Under load: one who writes at any of the servers, one who calls the Service."""
        say(text)
        port = self.kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
        node = (nodes or (self.made[CONTROL + 1],))[0]
        # Asked at each of them: any may be the one that dies.
        servers = [self.made.server(machine) for machine in self.made.each[:CONTROL]]
        writer, caller = (
            Writer(self.made.cluster.kubeconfig, servers, "default"),
            Caller(f"http://{node.ipv4}:{port}"),
        )
        with running(self.made.outside, writer, caller):
            self._wrote(writer, 20)
            what()
            self._wrote(writer, len(writer.seen.written) + 100)
        print(f"  the API did not answer for {writer.seen.gap:.2f} s at most; {len(writer.seen.written)} writes done")
        print(
            f"  the Service did not answer for {caller.seen.gap:.2f} s at most; {caller.seen.answers} answers, "
            f"{len(caller.seen.faults)} refused"
        )
        self.kubectl = Kubectl(ask.tool("kubectl"), ask, "default")
        at = ("--server", self.made.server(ask))
        found = self.kubectl(*at, "get", "configmaps", "-o", "name").split()
        lost = {f"configmap/{name}" for name in writer.seen.written} - set(found)
        print(f"  acknowledged writes that are missing: {len(lost)}")
        self.kubectl(*at, "delete", "configmaps", "--all", "--wait=false")
        self.kubectl = self.made.cluster.kubectl()

    def _wrote(self, writer: Writer, wanted: int) -> None:
        """Raises Failed when it does not come to that."""
        try:
            eventually(lambda: len(writer.seen.written) > wanted)
        except AssertionError:
            last = "; ".join(writer.seen.faults[-2:]) or "no answer at all"
            raise Failed(f"{len(writer.seen.written)} writes of {wanted} were done, and then: {last}") from None


class Failed(Exception):
    """A scene did not come to its end; the message says how."""


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sweep()
    mark()
    with tempfile.TemporaryDirectory(prefix="sampan-demo-") as home:
        made = Machines(Path(home), CONTROL + WORKERS, kind="mcd")
        try:
            Demo(made).run()
            say("Done; everything is taken away")
        except KeyboardInterrupt:
            say("Interrupted; everything is taken away")
            return 130
        except (Failed, AssertionError) as error:
            say(f"It did not go as it should: {error}")
            return 1
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would leave the rest behind
            with timed("cleaned up"):
                left = made.close()
            for text in left:
                print(f"left behind: {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
