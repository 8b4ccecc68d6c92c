"""Programs of their own: what they are told, what they say of themselves, and as whom they write."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from sampan.api.clock import SystemClock
from sampan.api.errors import ServiceUnavailable, Unauthorized
from sampan.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, CONFIG_MAPS, SERVICE_ACCOUNTS
from sampan.api.transport import Call
from sampan.cli import apart
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import Connection
from sampan.client.leaderelection import Term
from sampan.cluster.apart import options
from sampan.cluster.apart.accounts import TOKEN_SECONDS, Accounts, AccountTransport
from sampan.cluster.apart.program import Tools, run
from sampan.cluster.apart.serving import MOST_SCRAPES, Health, Serving, tls_context
from sampan.cluster.errors import ClusterError, WrongUsage
from sampan.metrics import Gauge, Registry
from sampan.scheduler.records import PATH as ATTEMPTS
from sampan.scheduler.records import AttemptRecord, Attempts, PodName
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.testing import virtual

ELECTION = ("15s", "10s", "2s", "lease", "kube-system", "me")


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15), ("1m30s", 90), ("1.5h", 5400), ("100ms", 0.1), ("0", 0), ("8760h", 31536000)]
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert options.seconds("--x", text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "15", "s", "1x", "1s2", "-1s", "1ss", "one", "9" * 400 + "h", "300000000h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(WrongUsage, match="is not a duration"):
        options.seconds("--x", text)


def test_an_election_is_upstreams_by_default_and_none_where_it_is_switched_off() -> None:
    config = options.election("true", *ELECTION)
    assert config is not None
    assert (config.lease_seconds, config.renew_deadline_seconds, config.retry_seconds) == (15, 10, 2)
    assert options.election("false", *ELECTION) is None
    with pytest.raises(WrongUsage, match="leaseDuration must be greater than renewDeadline"):
        options.election("true", "10s", *ELECTION[1:])
    with pytest.raises(WrongUsage, match="neither true nor false"):
        options.election("yes", *ELECTION)


def test_a_program_without_a_kubeconfig_is_a_pod_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ClusterError, match="not in a pod"):
        options.connection("")
    with pytest.raises(ClusterError, match="cannot read /no/such"):
        options.connection("/no/such")


def test_health_is_told_as_upstreams_components_tell_it() -> None:
    fault: list[str] = []
    health = Health({"leaderElection": lambda: fault[0] if fault else None})
    assert health.answer("healthz") == (200, "ok")
    assert health.answer("readyz", verbose=True) == (200, "[+]ping ok\n[+]leaderElection ok\nreadyz check passed\n")
    assert health.answer("healthz", "leaderElection") == (200, "ok")
    assert health.answer("healthz", "nothing")[0] == 404
    fault.append("failed election to renew leadership on lease x")
    assert health.answer("livez") == (
        500,
        "[+]ping ok\n[-]leaderElection failed: reason withheld\nlivez check failed\n",
    )
    assert health.answer("healthz", "leaderElection") == (
        500,
        "internal server error: failed election to renew leadership on lease x\n",
    )


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(ServerConfig(bind_address="127.0.0.1", port=0, openapi=False)) as made:
        yield made


async def token(server: Server, name: str, path: str = "/metrics") -> str:
    """Of an account that may read metrics, or of one that may not."""
    admin = Client(server.local_transport())
    meta = {"name": name, "namespace": "default"}
    await admin.create(SERVICE_ACCOUNTS, {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": meta})
    request = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}}
    made = await admin.create(SERVICE_ACCOUNTS, request, "default", name=name, subresource="token")
    if name == "reader":
        group = "rbac.authorization.k8s.io"
        rules = [{"nonResourceURLs": [path], "verbs": ["get"]}]
        head = {"apiVersion": f"{group}/v1", "metadata": {"name": "metrics"}}
        await admin.create(CLUSTER_ROLES, {"kind": "ClusterRole", **head, "rules": rules})
        subject = {"kind": "ServiceAccount", **meta}
        reference = {"apiGroup": group, "kind": "ClusterRole", "name": "metrics"}
        await admin.create(
            CLUSTER_ROLE_BINDINGS,
            {"kind": "ClusterRoleBinding", **head, "subjects": [subject], "roleRef": reference},
        )
    return str(made["status"]["token"])


async def test_metrics_are_for_whom_the_api_server_allows_them_and_health_for_anybody(server: Server) -> None:
    registry = Registry()
    registry.of("things", lambda: Gauge("things", "Things.")).set(7)
    asker = Client(server.local_transport("system:kube-controller-manager"))
    serving = Serving(Health({}), registry, asker)
    tls = await asyncio.to_thread(tls_context, None, None, None, "program")
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    reader, other = await token(server, "reader"), await token(server, "other")
    async with serving.listening("127.0.0.1", 0, tls) as port, aiohttp.ClientSession() as session:

        async def get(path: str, bearer: str = "") -> tuple[int, str]:
            headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
            async with session.get(f"https://127.0.0.1:{port}{path}", ssl=blind, headers=headers) as answer:
                return answer.status, await answer.text()

        assert await get("/healthz") == (200, "ok")
        assert (await get("/healthz/ping")) == (200, "ok")
        assert (await get("/readyz?verbose"))[1].endswith("readyz check passed\n")
        assert await get("/metrics") == (401, "Unauthorized\n")
        assert (await get("/metrics", "wrong"))[0] == 401
        status, said = await get("/metrics", other)
        name = "system:serviceaccount:default:other"
        assert (status, said) == (403, f'forbidden: User "{name}" cannot get path "/metrics"\n')
        status, said = await get("/metrics", reader)
        assert status == 200 and "things 7.0" in said
        assert (await get("/nothing", reader))[0] == 404


async def test_a_scheduler_that_runs_alone_tells_its_attempts_to_whom_the_api_server_allows_it(server: Server) -> None:
    attempts = Attempts()
    for name in ("one", "two"):
        attempts.put(AttemptRecord(PodName("default", name), SystemClock().now(), "mine", "error", message="why"))
    asker = Client(server.local_transport("system:kube-scheduler"))
    serving = Serving(Health({}), Registry(), asker, {ATTEMPTS: attempts.answer})
    tls = await asyncio.to_thread(tls_context, None, None, None, "program")
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    reader, other = await token(server, "reader", ATTEMPTS), await token(server, "other")
    async with serving.listening("127.0.0.1", 0, tls) as port, aiohttp.ClientSession() as session:

        async def get(query: str, bearer: str) -> tuple[int, str]:
            headers = {"Authorization": f"Bearer {bearer}"}
            async with session.get(f"https://127.0.0.1:{port}{ATTEMPTS}{query}", ssl=blind, headers=headers) as answer:
                return answer.status, await answer.text()

        assert (await get("", "wrong"))[0] == 401
        assert (await get("", other))[0] == 403
        status, said = await get("?namespace=default&pod=one", reader)
        assert status == 200 and [item["pod"]["name"] for item in orjson.loads(said)["items"]] == ["one"]
        assert await get("?limit=no", reader) == (400, 'limit: "no" is no number\n')


async def test_scrapes_beyond_a_few_at_a_time_are_turned_away_and_ask_the_api_server_nothing() -> None:
    asked, answer = 0, asyncio.Event()
    enough = asyncio.Event()

    class Slow:
        """An API server that does not answer yet."""

        async def create(self, *what: Any, **how: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked == MOST_SCRAPES:
                enough.set()
            await answer.wait()
            return {"status": {}}

    serving = Serving(Health({}), Registry(), Slow())  # type: ignore[arg-type]  # it only creates
    tls = await asyncio.to_thread(tls_context, None, None, None, "program")
    async with (
        serving.listening("127.0.0.1", 0, tls) as port,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session,
    ):

        async def get() -> int:
            headers = {"Authorization": "Bearer x"}
            async with session.get(f"https://127.0.0.1:{port}/metrics", headers=headers) as answered:
                return answered.status

        waiting = [asyncio.ensure_future(get()) for _ in range(MOST_SCRAPES)]
        await enough.wait()
        assert await get() == 429
        assert asked == MOST_SCRAPES
        answer.set()
        assert await asyncio.gather(*waiting) == [401] * MOST_SCRAPES
        assert await get() == 401


async def test_each_account_writes_as_itself_and_is_made_where_it_is_missing(server: Server) -> None:
    manager = Client(server.local_transport("system:kube-controller-manager"))
    accounts = Accounts(Connection(server.url, username="nobody", password="x"), manager, "program")
    try:
        client = accounts.client_for("root-ca-cert-publisher")
        assert accounts.client_for("root-ca-cert-publisher").transport is client.transport
        meta = {"name": "kube-root-ca.crt", "namespace": "default"}
        bundle = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": meta, "data": {"ca.crt": "PEM"}}
        made = await client.create(CONFIG_MAPS, bundle)
        assert made["metadata"]["managedFields"][0]["manager"] == "program"
        admin = Client(server.local_transport())
        assert await admin.get(SERVICE_ACCOUNTS, "root-ca-cert-publisher", "kube-system")
    finally:
        await accounts.close()


class Asked:
    """Counts the tokens that are asked for."""

    def __init__(self) -> None:
        self.tokens, self.refuse = 0, False

    async def create(self, *what: Any, **how: Any) -> Any:
        if self.refuse:
            raise ServiceUnavailable("no")
        self.tokens += 1
        return {"status": {"token": f"t{self.tokens}"}}


class Http(HttpTransport):
    def __init__(self) -> None:
        super().__init__(Connection("http://127.0.0.1:1"))
        self.used: list[str] = []
        self.fails = False

    async def call(self, call: Call) -> Any:
        self.used.append(self._current_token())
        if self.fails:
            raise Unauthorized("Unauthorized")
        return {}

    @asynccontextmanager
    async def watch(self, call: Call) -> AsyncIterator[Any]:
        yield await self.call(call)


def test_a_token_is_asked_for_once_renewed_in_time_and_anew_when_it_is_not_taken() -> None:
    async def live() -> None:
        asker, http = Asked(), Http()
        transport = AccountTransport(http, asker, "one")  # type: ignore[arg-type]  # it only creates
        look = Call("GET", "/")
        await asyncio.gather(*(transport.call(look) for _ in range(5)))
        assert http.used == ["t1"] * 5
        await asyncio.sleep(TOKEN_SECONDS * 0.79)
        await transport.call(look)
        await asyncio.sleep(TOKEN_SECONDS * 0.02)
        await transport.call(look)
        assert http.used[-2:] == ["t1", "t2"]
        http.fails = True
        with pytest.raises(Unauthorized):
            await transport.call(look)
        http.fails = False
        asker.refuse = True
        with pytest.raises(ServiceUnavailable):
            await transport.call(look)
        asker.refuse = False
        await transport.call(look)
        assert http.used[-1] == "t3"
        http.fails = True
        with pytest.raises(Unauthorized):
            async with transport.watch(look):
                pass
        http.fails = False
        await transport.call(look)
        assert http.used[-1] == "t4"

    virtual.run(live())


def program(server: Server, **how: Any) -> options.Program:
    connection = Connection(server.url, username="nobody", password="x")
    return options.Program(component="kube-scheduler", connection=connection, election=None, **how)


async def test_a_program_that_nobody_elects_acts_at_once_and_ends_with_a_signal(server: Server) -> None:
    ended: list[str] = []

    async def work(tools: Tools, term: Term) -> None:
        assert term.may_act and term.leader == ""
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await tasks.forever()
        finally:
            ended.append("so")

    await run(program(server), work)
    assert ended == ["so"]


@pytest.mark.parametrize("program", [apart.controller_manager, apart.scheduler])
def test_a_number_that_is_no_port_is_wrong_usage(program: Callable[..., None]) -> None:
    with pytest.raises(WrongUsage, match="--secure-port: 65536 is no port"):
        program(secure_port=65_536)


async def test_a_port_that_is_taken_is_told_with_what_to_do(server: Server) -> None:
    async def work(tools: Tools, term: Term) -> None:
        raise AssertionError("it must not begin")

    taken = server.address[1]
    words = f"cannot serve health and metrics at 127.0.0.1:{taken}: address already in use$"
    with pytest.raises(ClusterError, match=words) as refused:
        await run(program(server, bind_address="127.0.0.1", secure_port=taken), work)
    assert "--secure-port" in refused.value.fix


async def test_a_certificate_that_is_not_there_is_told(server: Server, tmp_path: Path) -> None:
    async def work(tools: Tools, term: Term) -> None:
        raise AssertionError("it must not begin")

    missing = tmp_path / "no.pem"
    with pytest.raises(ClusterError, match="no such file or directory"):
        await run(program(server, secure_port=1, tls_certificate=missing, tls_key=missing), work)
