"""clusterTrustBundle volumes: by name or by signer and labels, normalised, and current.

Upstream's facts: pkg/kubelet/clustertrustbundle, pkg/volume/projected.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from sampan.api import resources
from sampan.api.types import Obj
from sampan.node.env.sources import ObjectRef
from sampan.node.volumes import trustbundle
from sampan.node.volumes.errors import VolumeError

World = Any  # the fixture of conftest.py
SIGNER = "example.com/mtls"


def pem(content: bytes, *, before: str = "", width: int = 64) -> str:
    body = base64.b64encode(content).decode()
    lines = "\n".join(body[start : start + width] for start in range(0, len(body), width))
    return f"{before}-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"


def bundle(name: str, *certificates: str, signer: str | None = SIGNER, **labels: str) -> Obj:
    spec = {"trustBundle": "".join(certificates), **({"signerName": signer} if signer else {})}
    return {"metadata": {"name": name, "labels": labels, "resourceVersion": "1"}, "spec": spec}


def volume(**source: Any) -> Obj:
    return {"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "ca.pem", **source}}]}}


def put(world: World, *bundles: Obj) -> None:
    world.source.bundles |= {each["metadata"]["name"]: each for each in bundles}


ROOT, OTHER, THIRD = (pem(bytes([value]) * 90) for value in (1, 2, 3))


async def test_a_bundle_by_name_is_one_file(world: World) -> None:
    put(world, bundle("roots", ROOT, signer=None), bundle("others", OTHER, signer=None))
    path = (await world.mount(volume(name="roots")))["v"]
    assert (path / "ca.pem").read_text() == ROOT
    assert (path / "ca.pem").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"matchLabels": {"live": "yes"}}, ROOT + OTHER),
        ({}, ROOT + OTHER + THIRD),
        ({"matchExpressions": [{"key": "live", "operator": "NotIn", "values": ["yes"]}]}, THIRD),
    ],
    ids=["labels", "an empty selector is all of the signer", "an expression"],
)
async def test_bundles_of_a_signer_are_selected_by_labels(world: World, selector: Obj, expected: str) -> None:
    put(world, bundle("a", OTHER, live="yes"), bundle("b", ROOT, live="yes"), bundle("c", THIRD))
    put(world, bundle("d", pem(b"d"), signer="example.com/other", live="yes"))
    path = (await world.mount(volume(signerName=SIGNER, labelSelector=selector)))["v"]
    assert (path / "ca.pem").read_text() == expected


NONE = "combination of signerName and labelSelector matched zero ClusterTrustBundles"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"signerName": SIGNER}, NONE),
        ({"signerName": SIGNER, "labelSelector": {"matchLabels": {"live": "no"}}}, NONE),
        (
            {"name": "missing"},
            'while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "missing" not found',
        ),
        (
            {"signerName": SIGNER, "labelSelector": {"matchLabels": {f"key-{n}": "v" * 63 for n in range(1600)}}},
            "label selector length (115689) is larger than 102400",
        ),
    ],
    ids=["no selector selects nothing", "no such label", "no such name", "a selector without end"],
)
async def test_what_selects_nothing_says_so_unless_it_may(world: World, source: Obj, message: str) -> None:
    put(world, bundle("a", ROOT, live="yes"))
    with pytest.raises(VolumeError) as raised:
        await world.mount(volume(**source))
    assert str(raised.value) == f'MountVolume.SetUp failed for volume "v" : {message}'
    if "selector length" not in message:
        path = (await world.mount(volume(**source, optional=True)))["v"]
        assert (path / "ca.pem").read_bytes() == b""


async def test_certificates_are_written_anew_once_each_in_a_stable_order(world: World) -> None:
    put(world, bundle("a", pem(b"\2" * 90, before="# a comment\n", width=76), ROOT), bundle("b", OTHER, THIRD, ROOT))
    source = volume(signerName=SIGNER, labelSelector={})
    path = (await world.mount(source))["v"]
    before = (path / "..data").readlink()
    assert (path / "ca.pem").read_text() == ROOT + OTHER + THIRD
    world.source.bundles = dict(reversed(world.source.bundles.items()))
    await world.mount(source)
    assert (path / "..data").readlink() == before


@pytest.mark.parametrize("changed", ["a", SIGNER], ids=["named", "of the signer"])
async def test_a_changed_bundle_is_rewritten_at_once(world: World, changed: str) -> None:
    put(world, bundle("a", ROOT))
    source = {"name": "a"} if changed == "a" else {"signerName": SIGNER, "labelSelector": {}}
    path = (await world.mount(volume(**source)))["v"]
    put(world, bundle("a", OTHER))
    world.manager.object_changed(ObjectRef(resources.CLUSTER_TRUST_BUNDLES, "", "somebody-elses"))
    await world.manager.refresh_due()
    assert (path / "ca.pem").read_text() == ROOT
    world.manager.object_changed(ObjectRef(resources.CLUSTER_TRUST_BUNDLES, "", changed))
    await world.manager.refresh_due()
    assert (path / "ca.pem").read_text() == OTHER


async def test_the_pods_user_alone_reads_it_where_there_is_one(world: World) -> None:
    put(world, bundle("a", ROOT))
    path = (await world.mount(volume(name="a"), securityContext={"fsGroup": 0}))["v"]
    assert (path / "ca.pem").stat().st_mode & 0o707 == 0o600


async def test_a_signers_bundles_are_bounded_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trustbundle, "_LONGEST_TEXT", 300)
    put(world, bundle("a", ROOT), bundle("b", OTHER))
    with pytest.raises(VolumeError, match="the selected ClusterTrustBundles are larger than 300 bytes"):
        await world.mount(volume(signerName=SIGNER, labelSelector={}))
