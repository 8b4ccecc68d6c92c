"""What each volume type puts on disk, and what it says when it cannot."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from sampan.node.env.fields import PodFacts
from sampan.node.volumes.errors import VolumeError
from sampan.node.volumes.ownership import Ownership, set_ownership

World = Any  # the fixture of conftest.py


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_empty_dir_lies_where_upstream_puts_it_and_is_open_to_all(world: World) -> None:
    path = (await world.mount({"name": "v", "emptyDir": {}}))["v"]
    assert path == world.root / "pods/u1/volumes/kubernetes.io~empty-dir/v"
    assert mode(path) == 0o777


async def test_volume_without_type_is_an_empty_dir(world: World) -> None:
    assert (await world.mount({"name": "v"}))["v"].is_dir()


async def test_memory_empty_dir_is_a_tmpfs_of_the_smaller_limit(world: World) -> None:
    volume = {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}
    limited = [{"name": "c", "resources": {"limits": {"memory": "32Mi"}}}]
    path = (await world.mount(volume, containers=limited))["v"]
    assert world.mounter.tmpfs == {path: 32 << 20}


@pytest.mark.parametrize(
    ("limit", "size"), [({}, 1 << 30), ({"sizeLimit": "2Gi"}, 1 << 30), ({"sizeLimit": "1Mi"}, 1 << 20)]
)
async def test_memory_empty_dir_is_never_larger_than_what_pods_may_have(
    world: World, limit: dict[str, str], size: int
) -> None:
    volume = {"name": "v", "emptyDir": {"medium": "Memory", **limit}}
    made = {"metadata": {"name": "web", "namespace": "ns", "uid": "u1"}, "spec": {"volumes": [volume]}}
    made["spec"]["containers"] = [{"name": "c"}]
    mounted = await world.manager.mount_pod(made, PodFacts(allocatable={"memory": "1Gi"}))
    assert world.mounter.tmpfs == {mounted["v"].host_path: size}


async def test_config_map_files_have_default_mode_and_items_their_own(world: World) -> None:
    world.add_config_map("cm", a="1", b="2")
    volume = {"name": "v", "configMap": {"name": "cm", "defaultMode": 0o640}}
    path = (await world.mount(volume))["v"]
    assert (path / "a").read_text() == "1"
    assert mode(path / "b") == 0o640
    assert os.readlink(path / "a") == "..data/a"  # noqa: PTH115
    chosen = {"name": "w", "configMap": {"name": "cm", "items": [{"key": "a", "path": "x/y", "mode": 0o400}]}}
    path = (await world.mount(chosen))["w"]
    assert (path / "x/y").read_text() == "1"
    assert mode(path / "x/y") == 0o400


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"configMap": {"name": "y"}}, 'configmap "y" not found'),
        ({"secret": {"secretName": "y"}}, 'secret "y" not found'),
        (
            {"configMap": {"name": "cm", "items": [{"key": "no", "path": "p"}]}},
            "references non-existent config key: no",
        ),
        (
            {"projected": {"sources": [{"configMap": {"name": "a"}}, {"secret": {"name": "b"}}]}},
            '[configmap "a" not found, secret "b" not found]',
        ),
        (
            {"storageos": {"volumeName": "d"}},
            'volume type "storageos" is not supported by this node: the CSI driver csi.storageos.com does it',
        ),
        ({"hostPath": {"path": "/no", "type": "Directory"}}, "hostPath type check failed: /no is not a directory"),
        ({"hostPath": {"path": "/etc", "type": "File"}}, "hostPath type check failed: /etc is not a file"),
        (
            {"hostPath": {"path": "/proc/no/such/f", "type": "FileOrCreate"}},
            "open /proc/no/such/f: no such file or directory",
        ),
        (
            {"hostPath": {"path": "/proc/no", "type": "DirectoryOrCreate"}},
            "mkdir /proc/no: no such file or directory",
        ),
        ({"hostPath": {"path": "/etc", "type": "Socket"}}, "hostPath type check failed: /etc is not a socket file"),
        (
            {"persistentVolumeClaim": {"claimName": "c"}},
            'error processing PVC ns/c: failed to fetch PVC from API server: persistentvolumeclaims "c" not found',
        ),
    ],
)
async def test_failure_is_told_in_upstreams_words(world: World, volume: dict[str, Any], message: str) -> None:
    world.add_config_map("cm", a="1")
    with pytest.raises(VolumeError) as caught:
        await world.mount({"name": "v", **volume})
    assert str(caught.value) == f'MountVolume.SetUp failed for volume "v" : {message}'


async def test_optional_source_may_be_missing(world: World) -> None:
    path = (await world.mount({"name": "v", "configMap": {"name": "no", "optional": True}}))["v"]
    assert sorted(os.listdir(path))[0].startswith("..")  # noqa: PTH208


async def test_secret_is_on_tmpfs_and_decoded(world: World) -> None:
    world.add_secret("s", key="hush")
    path = (await world.mount({"name": "v", "secret": {"secretName": "s"}}))["v"]
    assert (path / "key").read_text() == "hush"
    assert path in world.mounter.tmpfs


async def test_downward_api_writes_labels_and_limits(world: World) -> None:
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"}},
    ]
    containers = [{"name": "c", "resources": {"limits": {"cpu": "250m"}}}]
    path = (await world.mount({"name": "v", "downwardAPI": {"items": items}}, containers=containers))["v"]
    assert (path / "labels").read_text() == 'app="web"'
    assert (path / "cpu").read_text() == "250"


async def test_host_path_is_created_only_when_asked_and_survives_the_pod(world: World, tmp_path: Path) -> None:
    made = tmp_path / "made"
    await world.mount({"name": "v", "hostPath": {"path": str(made), "type": "DirectoryOrCreate"}})
    assert mode(made) == 0o755
    (made / "kept").touch()
    await world.manager.unmount_pod("u1")
    assert (made / "kept").exists()


async def test_claim_bound_to_a_local_volume_is_used_where_it_is(world: World, tmp_path: Path) -> None:
    claim = {"metadata": {"uid": "cu"}, "spec": {"volumeName": "pv"}, "status": {"phase": "Bound"}}
    world.source.claims["c"] = claim
    world.source.volumes["pv"] = {"spec": {"claimRef": {"uid": "cu"}, "local": {"path": str(tmp_path)}}}
    assert await world.mount({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}) == {"v": tmp_path}
    claim["status"] = {"phase": "Pending"}
    with pytest.raises(VolumeError, match="PVC is not bound"):
        await world.mount({"name": "v", "persistentVolumeClaim": {"claimName": "c"}})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
async def test_fs_group_owns_directories_and_token_files(world: World) -> None:
    token = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    context = {"fsGroup": 2000, "runAsUser": 1000}
    paths = await world.mount({"name": "e", "emptyDir": {}}, token, securityContext=context)
    status = paths["e"].stat()
    assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (2000, 0o2777)
    status = (paths["t"] / "token").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1000, 2000, 0o640)


async def test_mode_that_the_pod_gave_its_volume_is_kept(world: World) -> None:
    path = (await world.mount({"name": "v", "emptyDir": {}}))["v"]
    path.chmod(0o700)
    await world.mount({"name": "v", "emptyDir": {}})
    assert mode(path) == 0o700


async def test_directory_left_unopened_by_a_crash_is_opened(world: World) -> None:
    path = world.root / "pods/u1/volumes/kubernetes.io~empty-dir/v"
    path.mkdir(parents=True, mode=0)
    await world.mount({"name": "v", "emptyDir": {}})
    assert mode(path) == 0o777


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_ownership_does_not_follow_symlinks(tmp_path: Path) -> None:
    host, volume = tmp_path / "host", tmp_path / "volume"
    host.touch(mode=0o600)
    (volume / "sub").mkdir(parents=True)
    (volume / "sub/link").symlink_to(host)
    (volume / "sub/file").touch(mode=0o600)
    set_ownership(volume, Ownership(fs_group=2000))
    assert (host.stat().st_gid, mode(host)) == (0, 0o600)
    assert ((volume / "sub/file").stat().st_gid, mode(volume / "sub/file")) == (2000, 0o660)
    assert mode(volume / "sub") & 0o2070 == 0o2070
