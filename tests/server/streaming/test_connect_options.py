"""The object that admission sees of a CONNECT, and the numbers and booleans of queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sampan.api.errors import BadRequest
from sampan.server import requestinfo
from sampan.server.request import Request
from sampan.server.streaming import options

MakeRequest = Callable[..., Request]


@pytest.mark.parametrize(
    ("subresource", "query", "wanted"),
    [
        (
            "exec",
            "command=ls&command=-l&container=a&stdin=&stdout=true&stderr=0&tty=FALSE",
            {"kind": "PodExecOptions", "stdin": True, "stdout": True, "container": "a", "command": ["ls", "-l"]},
        ),
        ("attach", "stderr=false", {"kind": "PodAttachOptions", "stdout": True}),
        ("portforward", "ports=80&ports=443", {"kind": "PodPortForwardOptions", "ports": [80, 443]}),
        ("portforward", "", {"kind": "PodPortForwardOptions"}),
    ],
)
def test_commands_are_told_to_admission(
    make_request: MakeRequest, subresource: str, query: str, wanted: dict[str, Any]
) -> None:
    assert options.connect_options(make_request(subresource, query)) == {"apiVersion": "v1", **wanted}


@pytest.mark.parametrize(
    ("resource", "place", "kind"),
    [
        ("pods", "namespaces/ns/pods/p", "PodProxyOptions"),
        ("services", "namespaces/ns/services/p", "ServiceProxyOptions"),
        ("nodes", "nodes/p", "NodeProxyOptions"),
    ],
)
def test_proxies_are_told_with_their_path(make_request: MakeRequest, resource: str, place: str, kind: str) -> None:
    request = make_request("proxy", resource=resource, path=f"/api/v1/{place}/proxy/a//b%20c/")
    assert options.connect_options(request) == {"kind": kind, "apiVersion": "v1", "path": "/a//b c/"}
    bare = make_request("proxy", resource=resource, path=f"/api/v1/{place}/proxy")
    assert options.connect_options(bare) == {"kind": kind, "apiVersion": "v1"}


def test_a_log_is_read_and_not_connected_to(make_request: MakeRequest) -> None:
    assert options.connect_options(make_request("log", "container=a")) is None


@pytest.mark.parametrize("text", ["1" * 5000, "1_0", " 1", "٣", "0x10", "1e3", "", "+"])
def test_ports_that_are_no_numbers_are_bad_requests(make_request: MakeRequest, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        options.connect_options(make_request("portforward", f"ports={text.replace('+', '%2B')}"))
    assert len(caught.value.message) < 200


class NoKinds:
    def by_resource(self, group: str, version: str, plural: str) -> None:
        return None


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/api/v1/namespaces/n/pods/p/proxy//x//y", "pods"),
        ("/api/v1/namespaces/n/services/s:80/proxy/a//", "services"),
        ("/api/v1/nodes/n/proxy//", "nodes"),
        ("/api/v1/namespaces/n//pods/p/proxy/x", ""),
        ("/api/v1//nodes/n/proxy/x", ""),
        ("//api/v1/nodes/n/proxy/x", ""),
        ("/api/v1/namespaces//pods", ""),
    ],
)
def test_empty_segments_are_allowed_in_the_backends_part_of_a_path_only(path: str, resource: str) -> None:
    info = requestinfo.parse(Request("GET", path, {}, {}), NoKinds())
    assert (info.resource, info.is_resource) == (resource, bool(resource))
