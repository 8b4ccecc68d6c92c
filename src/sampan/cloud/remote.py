"""A cloud that is any program: JSON over HTTP, by a URL or a unix socket (``http+unix:///run/cloud.sock``).

``docs/cloud.md`` has the protocol. Answers are bounded and checked; what is wrong with one a CloudError says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from sampan.api import objects
from sampan.cloud.provider import ADDRESS_TYPES, Balancer, CloudError, Machine, NodeRef, Route

_UNIX = "http+unix://"
_CALL_SECONDS = 30.0
_LARGEST_ANSWER = 8 * 1024 * 1024
_FEATURES = ("instances", "routes", "loadBalancers")


class RemoteProvider:
    """Open with ``await RemoteProvider.open(url)``. Implements Provider and all of its parts."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = "http://cloud" if url.startswith(_UNIX) else url.rstrip("/")
        self._where = url
        self._session = session
        self._name = ""
        self._features: frozenset[str] = frozenset()

    @classmethod
    async def open(cls, url: str, *, token: str = "") -> RemoteProvider:
        """Asks what the cloud can do. Raises CloudError."""
        connector = aiohttp.UnixConnector(url.removeprefix(_UNIX)) if url.startswith(_UNIX) else aiohttp.TCPConnector()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        session = aiohttp.ClientSession(
            connector=connector, headers=headers, timeout=aiohttp.ClientTimeout(total=_CALL_SECONDS)
        )
        provider = cls(url, session)
        try:
            _, told = await provider._call("GET", "/v1")
            name, features = told.get("name"), told.get("features")
            if not isinstance(name, str) or not isinstance(features, list):
                raise CloudError(f"{url}: GET /v1 says neither name nor features")
            if unknown := [each for each in features if each not in _FEATURES]:
                raise CloudError(f"{url}: feature {unknown[0]!r} is none of {', '.join(_FEATURES)}")
        except BaseException:
            await session.close()
            raise
        provider._name, provider._features = name, frozenset(features)
        return provider

    @property
    def name(self) -> str:
        return self._name

    @property
    def instances(self) -> RemoteProvider | None:
        return self if "instances" in self._features else None

    @property
    def routes(self) -> _RemoteRoutes | None:
        return _RemoteRoutes(self._call) if "routes" in self._features else None

    @property
    def load_balancers(self) -> _RemoteBalancers | None:
        return _RemoteBalancers(self._call) if "loadBalancers" in self._features else None

    async def close(self) -> None:
        await self._session.close()

    async def machine(self, node: NodeRef) -> Machine | None:
        body = {"name": node.name, "providerID": node.provider_id}
        status, told = await self._call("POST", "/v1/machine", body)
        if status == 404:
            # A node is deleted for this answer. A proxy before a cloud that is away gives it too, but not the next one.
            _, here = await self._call("GET", "/v1")
            if here.get("name") != self._name:
                raise CloudError(f"{self._where} is no longer the cloud {self._name!r}: nothing is gone for its word")
            return None
        try:
            return _machine(told)
        except (TypeError, ValueError, KeyError) as error:
            raise CloudError(f"{self._where}: what it says of machine {node.name} cannot be read: {error}") from error

    async def _call(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """Status 200 or, for ``/v1/machine`` alone, 404; and the answer. Raises CloudError."""
        data = orjson.dumps(body) if body is not None else None
        headers = {"Content-Type": "application/json"} if data else {}
        try:
            async with self._session.request(method, self._url + path, data=data, headers=headers) as answer:
                text = await answer.content.read(_LARGEST_ANSWER + 1)
                while not answer.content.at_eof() and len(text) <= _LARGEST_ANSWER:
                    text += await answer.content.read(_LARGEST_ANSWER + 1 - len(text))
                status = answer.status
        except (aiohttp.ClientError, OSError) as error:
            raise CloudError(f"{self._where} does not answer: {error}") from error
        except TimeoutError as error:
            raise CloudError(f"{self._where} did not answer {method} {path} in time") from error
        if len(text) > _LARGEST_ANSWER:
            raise CloudError(f"{self._where}: the answer to {method} {path} is larger than {_LARGEST_ANSWER} bytes")
        try:
            told = orjson.loads(text) if text.strip() else {}
        except ValueError:
            told = None
        if status == 404 and path == "/v1/machine" and text.strip() and isinstance(told, dict):
            return status, told
        if status // 100 != 2:
            said = told.get("error") if isinstance(told, dict) else None
            raise CloudError(str(said or f"{self._where}: {method} {path} was answered with {status}")[:1000])
        if not isinstance(told, dict):
            raise CloudError(f"{self._where}: the answer to {method} {path} is no JSON object")
        return status, told


def _machine(told: Mapping[str, Any]) -> Machine:
    addresses = tuple((str(each["type"]), str(each["address"])) for each in told.get("addresses") or [])
    if unknown := [kind for kind, _ in addresses if kind not in ADDRESS_TYPES]:
        raise ValueError(f"address type {unknown[0]!r}")
    if not isinstance(told["providerID"], str) or not told["providerID"]:
        raise ValueError("it has no providerID")
    return Machine(
        told["providerID"],
        str(told.get("instanceType") or ""),
        str(told.get("zone") or ""),
        str(told.get("region") or ""),
        addresses,
        {str(key): str(value) for key, value in dict(told.get("labels") or {}).items()},
        told.get("shutdown") is True,
    )


class _RemoteRoutes:
    def __init__(self, call: Any) -> None:
        self._call = call

    async def routes(self) -> Sequence[Route]:
        _, told = await self._call("GET", "/v1/routes")
        try:
            return [Route(str(each["name"]), str(each["node"]), str(each["cidr"])) for each in told.get("routes") or []]
        except (TypeError, KeyError) as error:
            raise CloudError(f"the list of routes cannot be read: {error}") from error

    async def create(self, route: Route) -> None:
        await self._call("POST", "/v1/routes", {"node": route.node, "cidr": route.cidr})

    async def delete(self, route: Route) -> None:
        await self._call("DELETE", f"/v1/routes/{quote(route.name, safe='')}")


class _RemoteBalancers:
    def __init__(self, call: Any) -> None:
        self._call = call

    async def ensure(self, name: str, service: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> Balancer:
        body = {"service": _service(service), "nodes": [_node(node) for node in nodes]}
        _, told = await self._call("PUT", f"/v1/loadbalancers/{quote(name, safe='')}", body)
        addresses, hostnames = told.get("addresses") or [], told.get("hostnames") or []
        if not isinstance(addresses, list) or not isinstance(hostnames, list) or not (addresses or hostnames):
            raise CloudError(f"load balancer {name} was made without an address")
        return Balancer(tuple(map(str, addresses)), tuple(map(str, hostnames)))

    async def delete(self, name: str, service: Mapping[str, Any]) -> None:
        await self._call("DELETE", f"/v1/loadbalancers/{quote(name, safe='')}")


def _service(service: Mapping[str, Any]) -> dict[str, Any]:
    spec = service.get("spec") or {}
    return {
        "namespace": objects.namespace(service),
        "name": objects.name(service),
        "uid": objects.uid(service),
        "annotations": dict(objects.annotations(service)),
        "ports": spec.get("ports") or [],
        "loadBalancerIP": spec.get("loadBalancerIP") or "",
        "sourceRanges": spec.get("loadBalancerSourceRanges") or [],
        "externalTrafficPolicy": spec.get("externalTrafficPolicy") or "Cluster",
        "healthCheckNodePort": spec.get("healthCheckNodePort") or 0,
    }


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": objects.name(node),
        "providerID": (node.get("spec") or {}).get("providerID") or "",
        "addresses": (node.get("status") or {}).get("addresses") or [],
    }
