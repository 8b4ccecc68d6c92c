"""What a cluster starts with is what the reference starts with, to the rule: objects, and who wrote which fields."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.reference.facts import compare, recorded

from sampan.api.clock import FixedClock
from sampan.api.enablement import ALL_KINDS, ALL_VERSIONS
from sampan.api.registry import registry
from sampan.api.resources import API_SERVICES
from sampan.api.transport import Call, Transport
from sampan.server.app import Server
from sampan.server.bootstrap import objects
from sampan.server.bootstrap.keep import Keeper
from sampan.server.config import ServerConfig

Obj = dict[str, Any]
_SERVER_MADE = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "managedFields")
_POLICY = ({"kubernetes.io/bootstrapping": "rbac-defaults"}, {"rbac.authorization.kubernetes.io/autoupdate": "true"})
_NOW = datetime(2026, 11, 27, tzinfo=UTC)
_ADDRESS, _PORT = "192.0.2.10", 6443


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """Policy is read from package data once a process; the first test shall not pay for it."""
    objects.policy()


#: here the server tells itself what nodes and pods use, so the roles of who may look have it from the start
_METRICS = "get,list,watch | metrics.k8s.io | nodes,pods"
_LOOK_AT_METRICS = ("admin", "edit", "view")
#: all gates are on here; by default GenericWorkload is not, and the scheduler has no such rules
_OF_GROUPS = (
    "get,list,watch | scheduling.k8s.io | podgroups,workloads",
    "patch,update | scheduling.k8s.io | podgroups/status",
)


async def collect(folder: Path) -> dict[str, Obj]:
    """All objects of a server that has started and looked after what it keeps once."""
    authority = folder / "ca.crt"
    authority.write_text(_authority())
    config = ServerConfig(
        runtime_config=ALL_VERSIONS,
        feature_gates=ALL_KINDS,
        listen=False,
        openapi=False,
        advertise_address=_ADDRESS,
        port=_PORT,
        client_ca=authority,
        requestheader_client_ca=authority,
        requestheader_allowed_names=("front-proxy-client",),
        clock=FixedClock(_NOW),
    )
    async with Server(config) as server:
        transport = server.local_transport()
        keeper = Keeper(transport, server._bootstrap_config(), config.clock, server._reader)
        await keeper.keep_service()
        await keeper.keep_others()
        await _registered(transport)
        return await everything(transport)


def _authority() -> str:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, _NOW, _NOW + timedelta(days=1))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


async def _registered(transport: Transport) -> None:
    """Waits until every group version has its APIService."""
    missing = {f"{version}.{group}" for group, versions in registry().today().groups().items() for version in versions}
    missing.remove("v1.apiregistration.k8s.io")
    async with transport.watch(Call("GET", API_SERVICES.path(), {"watch": "true"})) as events:
        async for event in events:
            missing.discard(event.object["metadata"]["name"])
            if not missing:
                return


async def everything(transport: Transport) -> dict[str, Obj]:
    found = {}
    for kind in registry().stored():
        listed = await transport.call(Call("GET", kind.resource.path()))
        for obj in listed.get("items") or ():
            meta = obj["metadata"]
            name = f"{meta['namespace']}/{meta['name']}" if "namespace" in meta else meta["name"]
            found[f"{kind.kind} {name}"] = obj
    return found


def facts(kind: str, obj: Obj) -> Obj:
    """As the record keeps them: a rule a line, and nothing that every server makes anew."""
    made = {key: value for key, value in obj.items() if key not in ("kind", "apiVersion", "metadata")}
    meta = {key: value for key, value in obj["metadata"].items() if key not in _SERVER_MADE}
    if "Role" in kind:
        labels, annotations = _POLICY
        assert meta.pop("annotations") == annotations
        meta["labels"] = {key: value for key, value in meta["labels"].items() if labels.get(key) != value}
        assert len(meta["labels"]) == len(obj["metadata"]["labels"]) - 1
        if not meta["labels"]:
            del meta["labels"]
        if "rules" in made:
            made["rules"] = [rule(each) for each in made["rules"]]
            if obj["metadata"]["name"] in _LOOK_AT_METRICS:
                made["rules"].remove(_METRICS)
            if obj["metadata"]["name"] == "system:kube-scheduler":
                for each in _OF_GROUPS:
                    made["rules"].remove(each)
    if "conditions" in made.get("status", {}):
        conditions = [
            {key: value for key, value in each.items() if key != "lastTransitionTime"}
            for each in made["status"]["conditions"]
        ]
        made["status"] = {**made["status"], "conditions": conditions}
    if "data" in made:
        made["data"] = {k: "<PEM>" if v.startswith("-----BEGIN") else v for k, v in made["data"].items()}
    return {**made, "metadata": meta} if meta else made


def rule(given: Obj) -> str:
    if "nonResourceURLs" in given:
        columns = [given["verbs"], given["nonResourceURLs"]]
    else:
        columns = [given[key] for key in ("verbs", "apiGroups", "resources", "resourceNames") if key in given]
    return " | ".join(",".join(word or "core" for word in column) for column in columns)


def managers(found: dict[str, Obj]) -> dict[str, list[str]]:
    named: dict[str, set[str]] = {}
    for key, obj in found.items():
        kind = key.partition(" ")[0]
        for entry in obj["metadata"].get("managedFields", ()):
            words = (entry["manager"], entry["operation"], entry.get("subresource", ""))
            named.setdefault(kind, set()).add(" ".join(filter(None, words)))
    return {kind: sorted(words) for kind, words in named.items()}


async def test_objects_and_their_writers_are_the_references(tmp_path: Path) -> None:
    found = await collect(tmp_path)
    record = dict(recorded("bootstrap"))
    written = record.pop("managers")
    compare("bootstrap", record, {key: facts(key.partition(" ")[0], obj) for key, obj in found.items()})
    compare("managers", {kind: words for kind, words in written.items() if words}, managers(found))
