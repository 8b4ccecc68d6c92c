"""The scene of the requirements of storage: one pod shows many volumes, as many pods as there are users they run as.

Of each source of files (ConfigMap, Secret, and both projected) there is a volume of each shape; containers print what
they find, and ``tests/e2e/requirements/test_storage_*`` says what that has to be.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from e2e_scenes import container
from requirement_room import config_map, pod, secret

USER, GROUP = 1000, 1001
DATA = {"data-1": "value-1", "data-2": "value-2", "data-3": "value-3"}
BINARY = bytes.fromhex("defec8ed00ff")
#: users that the pods of files run as: security contexts, by the pod's name
USERS: dict[str, dict[str, int]] = {
    "files-root": {},
    "files-user": {"runAsUser": USER},
    "files-group": {"runAsUser": USER, "fsGroup": GROUP},
}
SOURCES = ("configmap", "secret", "projected-configmap", "projected-secret")
_MAPPED = [{"key": "data-2", "path": "path/to/data-2"}]
#: what each volume of files says beside its object's name
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "again": {},
    "mode": {"defaultMode": 0o400},
    "group-mode": {"defaultMode": 0o440},
    "mapped": {"items": _MAPPED},
    "mapped-mode": {"items": [{**_MAPPED[0], "mode": 0o400}]},
}
LIMITS = {"limits": {"cpu": "1250m", "memory": "64Mi"}, "requests": {"cpu": "25m", "memory": "32Mi"}}
WRITTEN_MODES = (0o644, 0o666, 0o777)
RACING = 50


def files_volume(name: str, source: str, object_name: str, **shape: Any) -> dict[str, Any]:
    """A volume of an object's files: a mode belongs to the projection, everything else to the source."""
    kind = source.removeprefix("projected-")
    if not source.startswith("projected-"):
        key = {"configmap": ("configMap", "name"), "secret": ("secret", "secretName")}[kind]
        return {"name": name, key[0]: {key[1]: object_name, **shape}}
    mode = {key: value for key, value in shape.items() if key == "defaultMode"}
    rest = {key: value for key, value in shape.items() if key != "defaultMode"}
    field = {"configmap": "configMap", "secret": "secret"}[kind]
    return {"name": name, "projected": {"sources": [{field: {"name": object_name, **rest}}], **mode}}


def objects() -> list[dict[str, Any]]:
    return [
        {**config_map("data", **DATA), "binaryData": {"dump.bin": base64.b64encode(BINARY).decode()}},
        secret("data", **DATA),
        *map(_files_pod, USERS),
        _downward_pod(),
        *_directories(),
        *_subpaths(),
        *_wrappers(),
        _combined(),
        *_followed(),
    ]


def _files_pod(name: str) -> Any:
    volumes = [
        files_volume(f"{source}-{shape}", source, "data", **said)
        for source in SOURCES
        for shape, said in SHAPES.items()
    ]
    mounts = {volume["name"]: f"/v/{volume['name']}" for volume in volumes}
    return pod(name, container("show /v", mounts), volumes=volumes, securityContext=USERS[name])


# Downward API


def _of_container(file: str, of: str, resource: str) -> dict[str, Any]:
    return {"path": file, "resourceFieldRef": {"containerName": of, "resource": resource}}


def _of_pod(file: str, field: str, **more: Any) -> dict[str, Any]:
    return {"path": file, "fieldRef": {"fieldPath": field}, **more}


def resource_items() -> list[dict[str, Any]]:
    return [
        _of_container(resource.replace(".", "_"), "main", resource)
        for resource in ("limits.cpu", "requests.cpu", "limits.memory", "requests.memory")
    ]


def downward_volume(name: str, source: str, items: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    if source == "downward":
        return {"name": name, "downwardAPI": {"items": items, **more}}
    return {"name": name, "projected": {"sources": [{"downwardAPI": {"items": items}}], **more}}


def _downward_pod() -> Any:
    volumes = []
    for source in ("downward", "projected-downward"):
        free = [_of_container("cpu", "free", "limits.cpu"), _of_container("memory", "free", "limits.memory")]
        name = _of_pod("podname", "metadata.name")
        volumes += [
            downward_volume(f"{source}-all", source, [name, *resource_items()]),
            downward_volume(f"{source}-free", source, free),
            downward_volume(f"{source}-mode", source, [name], defaultMode=0o400),
            downward_volume(f"{source}-item", source, [{**name, "mode": 0o400}]),
        ]
    mounts = {volume["name"]: f"/v/{volume['name']}" for volume in volumes}
    main = container("show /v", mounts, resources=LIMITS)
    return pod("downward", main, container("true", {}, "free"), volumes=volumes)


# emptyDir

SHARED = "Hello from the busy-box sub-container"


def _directories() -> Iterator[Any]:
    volumes = [{"name": "default", "emptyDir": {}}, {"name": "tmpfs", "emptyDir": {"medium": "Memory"}}]
    mounts = {"default": "/v/default", "tmpfs": "/v/tmpfs"}
    script = "umask 0\nfor d in default tmpfs; do\n"
    script += 'echo "directory|$d|$(stat -c %a /v/$d)|$(stat -f -c %T /v/$d)"\n'
    script += "".join(f"echo written >/v/$d/{mode:o} && chmod {mode:o} /v/$d/{mode:o}\n" for mode in WRITTEN_MODES)
    script += "done\nshow /v"
    for name, user in (("directories-root", 0), ("directories-user", USER)):
        yield pod(name, container(script, mounts), volumes=volumes, securityContext={"runAsUser": user})
    shared = {"shared": "/shared"}
    yield pod(
        "shared",
        container("while ! [ -s /shared/shared ]; do sleep 0.1; done; cat /shared/shared", shared),
        container(f"echo {SHARED} >/shared/.new; mv /shared/.new /shared/shared", shared, "sub"),
        volumes=[{"name": "shared", "emptyDir": {}}],
    )


# subPath

SUBPATHS = ("configmap", "secret", "projected", "downward")


def _subpaths() -> Iterator[Any]:
    items = [_of_pod("data-1", "metadata.name")]
    volumes = [
        files_volume("configmap", "configmap", "data"),
        files_volume("secret", "secret", "data"),
        files_volume("projected", "projected-configmap", "data"),
        downward_volume("downward", "downward", items),
    ]
    mounts = [{"name": name, "mountPath": f"/sub/{name}", "subPath": "data-1"} for name in SUBPATHS]
    # An existing file, which the runtime mounts itself if nobody else does.
    mounts.append({"name": "configmap", "mountPath": "/etc/resolv.conf", "subPath": "data-2"})
    script = "show /sub; echo existing: $(cat /etc/resolv.conf)"
    yield pod("subpath", {**container(script, {}), "volumeMounts": mounts}, volumes=volumes)


# Volumes that are built on an emptyDir


def _wrappers() -> Iterator[Any]:
    both = [files_volume("secret", "secret", "data"), files_volume("configmap", "configmap", "data")]
    mounts = {"secret": "/etc/secret-volume", "configmap": "/etc/configmap-volume"}
    yield pod("wrappers", container("show /etc/secret-volume /etc/configmap-volume", mounts), volumes=both)
    for number in range(RACING):
        yield config_map(f"racing-{number}", **{"data-1": f"racing-{number}"})


def racing() -> dict[str, Any]:
    """A ReplicationController of five pods that use many ConfigMaps each."""
    names = [f"racing-{number}" for number in range(RACING)]
    template = pod(
        "any",
        container("sleep 3600", {name: f"/v/{name}" for name in names}),
        volumes=[files_volume(name, "configmap", name) for name in names],
        restartPolicy="Always",
    )
    labels = {"scene": "racing"}
    spec = {"replicas": 5, "selector": labels, "template": {"metadata": {"labels": labels}, "spec": template["spec"]}}
    return {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "racing"}, "spec": spec}


def _combined() -> Any:
    sources = [
        {"secret": {"name": "data", "items": [{"key": "data-1", "path": "secret-data"}]}},
        {"configMap": {"name": "data", "items": [{"key": "data-2", "path": "configmap-data"}]}},
        {"downwardAPI": {"items": [_of_pod("podname", "metadata.name"), *resource_items()]}},
    ]
    main = container("show /all", {"all": "/all"}, resources=LIMITS)
    return pod("combined", main, volumes=[{"name": "all", "projected": {"sources": sources}}])


# What changes while the pod runs

#: name of the object, whether it is there from the start
FOLLOWED = (("update", True), ("optional-update", True), ("optional-delete", True), ("optional-create", False))


def followed_object(source: str, name: str, data: Mapping[str, str]) -> dict[str, Any]:
    """An object of its own for each source that looks at it."""
    full = f"{source}-{name}"
    return (config_map if source.endswith("configmap") else secret)(full, **data)


def _followed() -> Iterator[Any]:
    volumes = []
    for source in SOURCES:
        for name, there in FOLLOWED:
            full = f"{source}-{name}"
            optional = {"optional": True} if name.startswith("optional") else {}
            volumes.append(files_volume(full, source, full, **optional))
            if there:
                yield followed_object(source, name, {"data-1": "value-1"})
    items = [_of_pod("labels", "metadata.labels"), _of_pod("annotations", "metadata.annotations")]
    volumes += [downward_volume(source, source, items) for source in ("downward", "projected-downward")]
    mounts = {volume["name"]: f"/v/{volume['name']}" for volume in volumes}
    made = pod("followed", container("sleep 3600", mounts), volumes=volumes)
    made["metadata"] = {"name": "followed", "labels": {"key1": "value1"}, "annotations": {"builder": "bar"}}
    yield made
