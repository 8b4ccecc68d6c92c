"""What webhooks cost a create: none at all, webhooks on another resource, one that mutates and one that validates.

    python bench/webhooks.py [--connections 32] [--seconds 3] [--rounds 3]

The server runs as in ``bench/api.py``: TLS, RBAC, every write durable. The webhooks are a process of their own that
answers over HTTPS with as little work as can be, so that what is measured is the asking; where two cores are shared by
generator, server and webhooks, "CPU" (of the API server's process alone) and the latency of one connection travel
better than the rate.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import uvloop
from api_load import measure
from api_load.generator import Step
from api_load.rows import CONFIG_MAPS, Run, config_map
from api_load.sampan_server import SampanServer

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"
PATCH = base64.b64encode(orjson.dumps([{"op": "add", "path": "/data/mutated", "value": "yes"}])).decode()


async def serve(folder: Path) -> None:
    """The webhooks: says its port, and ends with its input."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
                review = orjson.loads(await reader.readexactly(length))
                response: dict[str, Any] = {"uid": review["request"]["uid"], "allowed": True}
                if head.startswith(b"POST /mutate"):
                    response |= {"patchType": "JSONPatch", "patch": PATCH}
                review = {"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response}
                body = orjson.dumps(review)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        except asyncio.CancelledError:  # the end of this process
            return

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


@contextmanager
def webhooks(folder: Path) -> Iterator[int]:
    """The port they listen on."""
    command = [sys.executable, __file__, "--serve", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.communicate(timeout=10)


def configuration(kind: str, port: int, folder: Path, resource: str) -> dict[str, Any]:
    path = "mutate" if kind == "Mutating" else "validate"
    bundle = base64.b64encode((folder / "ca.crt").read_bytes()).decode()
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": [resource]}
    hook = {
        "name": f"{path}.example.com",
        "clientConfig": {"url": f"https://127.0.0.1:{port}/{path}", "caBundle": bundle},
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    return {
        "kind": f"{kind}WebhookConfiguration",
        "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": {"name": path},
        "webhooks": [hook],
    }


@contextmanager
def configured(run: Run, port: int, resource: str) -> Iterator[None]:
    """Both webhooks on one resource."""
    admin, kinds = run.subject.admin, ("Mutating", "Validating")
    for kind in kinds:
        path = f"{CONFIGURATIONS}/{kind.lower()}webhookconfigurations"
        admin.call("POST", path, configuration(kind, port, run.folder, resource))
    yield
    for kind in kinds:
        name = "mutate" if kind == "Mutating" else "validate"
        admin.call("DELETE", f"{CONFIGURATIONS}/{kind.lower()}webhookconfigurations/{name}")


def create(run: Run, what: str, connections: int) -> None:
    step = Step("POST", CONFIG_MAPS, config_map(run.fresh() + "{n}"))
    print(measure.line(run.drive("create", what, step, connections=connections)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=32, help="at once (32)")
    parser.add_argument("--seconds", type=float, default=3.0, help="that each figure is taken over (3)")
    parser.add_argument("--rounds", type=int, default=3, help="of all the rows (3)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        uvloop.run(serve(options.serve))
        return
    with tempfile.TemporaryDirectory() as name, SampanServer(Path(name) / "server") as server:
        run = Run(server.subject(), "certificate", server.folder, server, bare=False, seconds=options.seconds)
        measure.wait_until_idle(run.subject.pids)
        print(measure.HEAD)
        with webhooks(server.folder) as port:
            for _ in range(options.rounds):
                for connections in (options.connections, 1):
                    create(run, f"no webhook, {connections}", connections)
                    with configured(run, port, "pods"):
                        create(run, f"2 on pods, {connections}", connections)
                    with configured(run, port, "configmaps"):
                        create(run, f"2 on config maps, {connections}", connections)
        made = run.subject.admin.call("GET", f"{CONFIG_MAPS}?limit=5000&labelSelector=")
        mutated = sum("mutated" in item["data"] for item in made["items"])
        print(json.dumps({"sampled": len(made["items"]), "mutated": mutated}))


if __name__ == "__main__":
    main()
