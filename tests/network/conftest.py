"""Fixtures: the fake API server, a network lab, and a proxy on either nftables."""

import asyncio
import importlib.util
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType

import pytest

from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.network.proxy import NftBackend, ProxyConfig, ServiceProxy
from sampan.network.proxy.nftables.fake import FakeNft


def _load(name: str, path: Path) -> ModuleType:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


_HERE = Path(__file__).parent
fake_api = _load("sampan_tests_fake_api", _HERE.parent / "client" / "fake_api.py")
network_objects = _load("network_objects", _HERE / "network_objects.py")
policy_oracle = _load("policy_oracle", _HERE / "policy_oracle.py")
policy_worlds = _load("policy_worlds", _HERE / "policy_worlds.py")
network_lab = _load("network_lab", _HERE / "network_lab.py")
policy_driver = _load("policy_driver", _HERE / "policy_driver.py")
policy_lab = _load("policy_lab", _HERE / "policy_lab.py")


def _why_no_lab() -> str:
    if os.geteuid() != 0:
        return "network namespaces and nftables need root"
    missing = [program for program in ("ip", "nft") if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


@pytest.fixture(scope="session")
def lab():
    if reason := _why_no_lab():
        pytest.skip(reason)
    made = network_lab.Lab()
    try:
        made.open()
        yield made
    finally:
        made.close()


@pytest.fixture
def api():
    return fake_api.FakeApi()


@pytest.fixture
def client(api):
    return Client(api)


@pytest.fixture
def config() -> ProxyConfig:
    return ProxyConfig(
        instance="test",
        node_name="node1",
        node_address=network_lab.NODE_ADDRESS,
        node_pod_cidr="10.244.0.0/24",
        cluster_pod_cidr="10.244.0.0/16",
        min_sync_seconds=0.01,
        retry_seconds=0.01,
        health_address="127.0.0.1",
    )


class NoConntrack:
    def __init__(self) -> None:
        self.forgotten = []

    async def forget(self, flows) -> None:
        self.forgotten += flows


@asynccontextmanager
async def running(
    client: Client, config: ProxyConfig, *, nft=None, backend=None, **options
) -> AsyncIterator[ServiceProxy]:
    factory = InformerFactory(client)
    proxy = ServiceProxy(factory, config, backend or NftBackend(config, nft), **options)
    started = asyncio.Event()
    jobs = [tasks.detach(factory.run(), "informers"), tasks.detach(proxy.run(started), "proxy")]
    try:
        async with asyncio.timeout(15):
            await started.wait()
        yield proxy
    finally:
        await tasks.cancel_and_wait(*jobs)


@pytest.fixture
def run_proxy() -> Callable[..., AbstractAsyncContextManager[ServiceProxy]]:
    return running


@pytest.fixture
def fake_nft() -> FakeNft:
    return FakeNft()


@pytest.fixture
def conntrack() -> NoConntrack:
    return NoConntrack()
