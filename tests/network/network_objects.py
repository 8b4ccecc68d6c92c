"""Services, EndpointSlices and Pods for the tests, as short calls."""

from typing import Any


def service(
    name: str, ip: str = "10.96.0.20", ports: Any = (), namespace: str = "default", **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": list(ports) or [port()], **spec},
        "status": {"loadBalancer": {}},
    }


def port(number: int = 80, protocol: str = "TCP", name: str = "", **more: Any) -> dict[str, Any]:
    return {"port": number, "protocol": protocol, **({"name": name} if name else {}), **more}


def endpoint(ip: str, node: str = "node1", hostname: str = "", **conditions: bool) -> dict[str, Any]:
    return {
        "addresses": [ip],
        "nodeName": node,
        "conditions": {"ready": True, **conditions},
        **({"hostname": hostname} if hostname else {}),
    }


def endpoint_slice(
    owner: str, endpoints: Any = (), ports: Any = (), namespace: str = "default", suffix: str = "x", **more: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{owner}-{suffix}",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": owner},
        },
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": list(ports) or [{"port": 8080, "protocol": "TCP", "name": ""}],
        **more,
    }


def pod(
    name: str, ip: str, ports: Any = (), node: str = "node1", phase: str = "Running", **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": node, "containers": [{"name": "c", "ports": list(ports)}], **spec},
        "status": {"podIP": ip, "phase": phase},
    }


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
