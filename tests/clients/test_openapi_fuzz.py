"""schemathesis asks whatever the server's own OpenAPI document allows, and much that it does not: no 500, no hang.

The cluster is a whole one, with controllers and a node that meet what was let in; none of them may log an error.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
import yaml
from client_harness import GADGETS, cluster, eventually
from schemathesis import APIOperation

SEED = 7
#: documents of /openapi/v3, their resources (all: None), and how often each operation is tried
DOCUMENTS: dict[str, tuple[tuple[str, ...] | None, int]] = {
    "apis/clients.example.com/v1": (None, 8),  # before the next but two, which deletes its definition
    "api/v1": (("configmaps", "services", "secrets", "namespaces/{name}", "events", "limitranges"), 3),
    "apis/apps/v1": (("deployments",), 3),
    "apis/batch/v1": (("cronjobs",), 2),
    "apis/apiextensions.k8s.io/v1": (None, 4),
    "apis/authorization.k8s.io/v1": (None, 4),
    "apis/discovery.k8s.io/v1": (None, 3),
    "apis/networking.k8s.io/v1": (("networkpolicies", "ingresses"), 2),
    "apis/policy/v1": (None, 4),
    "apis/rbac.authorization.k8s.io/v1": (("roles", "rolebindings"), 3),
}
#: a limit against hangs; the longest answer takes a fraction of it on an idle machine
PATIENCE_SECONDS = 30.0


class Asker:
    """The administrator, by HTTP."""

    def __init__(self, kubeconfig: Path) -> None:
        described = yaml.safe_load(kubeconfig.read_text())
        where, user = described["clusters"][0]["cluster"], described["users"][0]["user"]
        self.url = where["server"]
        self.session = requests.Session()
        self.session.trust_env = False
        files = {}
        for name, content in (
            ("ca", where["certificate-authority-data"]),
            ("crt", user["client-certificate-data"]),
            ("key", user["client-key-data"]),
        ):
            files[name] = kubeconfig.with_name(f"fuzz.{name}")
            files[name].write_bytes(base64.b64decode(content))
        self.session.verify, self.session.cert = str(files["ca"]), (str(files["crt"]), str(files["key"]))

    def json(self, method: str, path: str, **more: Any) -> Any:
        answer = self.session.request(method, self.url + path, timeout=PATIENCE_SECONDS, **more)
        assert answer.ok, answer.text
        return answer.json()

    def status(self, case: schemathesis.Case) -> int:
        """What a case is answered; a watch is left once it has begun."""
        wanted = case.as_transport_kwargs(base_url=self.url)
        wanted.pop("cookies", None)
        with self.session.request(**wanted, timeout=PATIENCE_SECONDS, stream=True) as answer:
            assert answer.status_code < 500, f"{case.as_curl_command()}\n{answer.text[:2000]}"
            told = answer.status_code >= 400 and wanted["method"] != "HEAD"
            if told and answer.headers["Content-Type"] == "application/json":
                assert answer.json()["kind"] == "Status"
            return answer.status_code


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    with cluster(tmp_path_factory.mktemp("fuzzed")) as served:
        made = Asker(served.kubeconfig)
        made.json("POST", "/api/v1/namespaces", json={"metadata": {"name": "fuzz"}})
        made.json("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=GADGETS)
        eventually(lambda: "apis/clients.example.com/v1" in made.json("GET", "/openapi/v3")["paths"])
        yield made
        made.session.close()


def aim(document: dict[str, Any]) -> dict[str, Any]:
    """The same document, narrowed to what can be there: a namespace, two names, and each object's own kind."""
    for path in document["paths"].values():
        for parameter in path.get("parameters", ()):
            values = {"namespace": ["fuzz"], "name": ["a", "b"]}.get(parameter.get("name"))
            if values and parameter["in"] == "path":
                parameter["schema"] = {"type": "string", "enum": values}
    for schema in document["components"]["schemas"].values():
        kinds = schema.get("x-kubernetes-group-version-kind", ())
        properties = schema.get("properties", {})
        if len(kinds) == 1 and {"apiVersion", "kind", "metadata"} <= properties.keys():
            group, version, kind = (kinds[0][key] for key in ("group", "version", "kind"))
            properties["apiVersion"]["enum"] = [f"{group}/{version}" if group else version]
            properties["kind"]["enum"] = [kind]
            schema["required"] = sorted({*schema.get("required", ()), "apiVersion", "kind", "metadata"})
    meta = document["components"]["schemas"].get("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
    if meta is not None:
        meta["properties"]["name"]["enum"] = ["a", "b"]
        meta["properties"]["namespace"]["enum"] = ["fuzz"]
        meta["required"] = ["name"]
        for unlikely in (
            "deletionTimestamp",
            "creationTimestamp",
            "managedFields",
            "selfLink",
            "resourceVersion",
            "uid",
        ):
            meta["properties"].pop(unlikely)
    return document


def tries(operation: APIOperation[Any, Any], number: int, asker: Asker) -> Counter[int]:
    answers: Counter[int] = Counter()

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=number,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        answers[asker.status(case)] += 1

    ask()
    return answers


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DOCUMENTS)
def test_whatever_is_asked_is_answered(asker: Asker, name: str) -> None:
    resources, number = DOCUMENTS[name]
    document = aim(asker.json("GET", f"/openapi/v3/{name}"))
    operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
    answers: Counter[int] = Counter()
    for operation in operations:
        if resources is None or any(f"/{resource}" in operation.path for resource in resources):
            answers += tries(operation, number, asker)
    assert {200, 400} <= answers.keys(), answers
    assert asker.session.get(f"{asker.url}/readyz", timeout=PATIENCE_SECONDS).text == "ok"
