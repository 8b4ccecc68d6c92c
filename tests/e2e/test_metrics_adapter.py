"""An autoscaler that follows a metric of Debian's Prometheus, by way of ``sampan metrics-adapter``."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e_harness import SAMPAN, Cluster, Kubectl, described, eventually
from e2e_manifests import IMAGE

RULES: Any = {
    "externalRules": [
        {
            "seriesQuery": "queue_length",
            "resources": {"namespaced": False},
            "metricsQuery": "max(<<.Series>>{<<.LabelMatchers>>})",
        }
    ],
    "rules": [
        {
            "seriesQuery": 'requests{namespace!="",pod!=""}',
            "resources": {"template": "<<.Resource>>"},
            "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
        }
    ],
}


class Exporter(BaseHTTPRequestHandler):
    text = ""

    def do_GET(self) -> None:
        body = type(self).text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Nobody reads it."""


@pytest.fixture
def exporter() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def prometheus(tmp_path: Path, exporter: ThreadingHTTPServer) -> Iterator[str]:
    """Its URL."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs prometheus: run scripts/setup dev")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    target = f"127.0.0.1:{exporter.server_address[1]}"
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "e2e", "honor_labels": True, "static_configs": [{"targets": [target]}]}],
    }
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        [
            program,
            f"--config.file={path}",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture
def adapter(tmp_path: Path, cluster: Cluster, prometheus: str) -> Iterator[subprocess.Popen[str]]:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(RULES))
    with (tmp_path / "adapter.log").open("w") as log:
        process = subprocess.Popen(
            [SAMPAN, "metrics-adapter", "--prometheus", prometheus, "--config", str(path)],
            env=cluster.env,
            stdout=log,
            stderr=log,
            text=True,
        )
    yield process
    process.send_signal(signal.SIGTERM)
    code = process.wait(60)
    said = (tmp_path / "adapter.log").read_text()
    assert code == 0, said
    assert " E " not in said and "Traceback" not in said, said


def autoscaler(target: str) -> str:
    metric = {"name": "queue_length", "selector": {"matchLabels": {"queue": "mail"}}}
    source = {"metric": metric, "target": {"type": "AverageValue", "averageValue": "10"}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
        "minReplicas": 1,
        "maxReplicas": 3,
        "metrics": [{"type": "External", "external": source}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
    }
    return json.dumps(
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": target}, "spec": spec}
    )


def test_an_autoscaler_follows_a_metric_of_prometheus(kubectl: Kubectl, adapter: subprocess.Popen[str]) -> None:
    def expose(length: int) -> None:
        pods = f'requests{{namespace="{kubectl.namespace}",pod="web-1"}} 2.5\n'
        Exporter.text = f'queue_length{{queue="mail"}} {length}\nqueue_length{{queue="other"}} 99\n{pods}'

    expose(25)
    for group in ("v1beta1.external.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"):
        eventually(lambda group=group: kubectl.run("get", "apiservice", group, check=False).returncode == 0)
        kubectl("wait", "--for=condition=Available", f"apiservice/{group}", "--timeout=60s")
    path = (
        f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{kubectl.namespace}/queue_length?labelSelector=queue%3Dmail"
    )

    def told() -> Any:
        done = kubectl.run("get", "--raw", path, check=False)
        return json.loads(done.stdout)["items"] if done.returncode == 0 else None

    (item,) = eventually(told)
    assert (item["metricName"], item["value"]) == ("queue_length", "25")

    one = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{kubectl.namespace}/pods/web-1/requests"
    found = json.loads(kubectl("get", "--raw", one))["items"]
    assert [each["value"] for each in found] == ["2500m"]

    kubectl("create", "deployment", "worker", f"--image={IMAGE}", "--", "sleep", "3600")
    kubectl("apply", "-f", "-", stdin=autoscaler("worker"))

    def replicas() -> int:
        return int(kubectl("get", "deployment", "worker", "-o", "jsonpath={.spec.replicas}"))

    eventually(lambda: replicas() == 3, seconds=120, every=1)
    described(kubectl, "hpa", "worker", says=['"queue_length" (target average value):', "SuccessfulRescale"])
    expose(4)
    eventually(lambda: replicas() == 1, seconds=120, every=1)


def test_rules_that_are_not_understood_are_told(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("resourceRules: {cpu: {}}\n")
    done = cluster.sampan("metrics-adapter", "--prometheus", "http://127.0.0.1:9", "--config", str(path), check=False)
    assert done.returncode == 2
    assert "resourceRules: the cluster serves metrics.k8s.io by itself" in done.stderr
