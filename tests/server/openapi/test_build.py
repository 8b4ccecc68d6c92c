"""The real build, as the server runs it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import orjson
import pytest

from sampan.api.registry import registry
from sampan.server.openapi import files


@pytest.mark.timeout(120)  # another interpreter starts and reads 3 MB of sources
async def test_a_build_is_complete_and_described(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "key"
    await files.build_apart(folder)
    index = files.load_index(folder)
    assert index is not None
    assert {"api", "apis", "api/v1", "apis/apps/v1", "v2.json", "v2.pb"} <= index.keys()
    assert [path.name for path in folder.parent.iterdir()] == ["key"]
    core = orjson.loads((folder / files.file_name("api/v1")).read_bytes())
    schemas = core["components"]["schemas"]
    assert schemas["io.k8s.api.core.v1.Container"]["properties"]["image"]["description"].startswith("Container image")
    undescribed = [name for name, schema in schemas.items() if not schema.get("description")]
    assert undescribed == []
    assert explained_in_vain(folder, index) == UNTOLD


#: fields that upstream says nothing of either
UNTOLD = {"CertificateSigningRequest metadata"}


def explained_in_vain(folder: Path, index: Collection[str]) -> set[str]:
    """Kinds of today that ``kubectl explain`` finds nothing of, and their fields that nothing is said of. What is
    alpha or beta is off here."""
    found = set()
    for kind in registry().today().kinds():
        if "alpha" in kind.version or "beta" in kind.version:
            continue
        document = f"apis/{kind.api_version}" if kind.group else f"api/{kind.version}"
        assert document in index
        schemas = orjson.loads((folder / files.file_name(document)).read_bytes())["components"]["schemas"]
        own = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        described = [each for each in schemas.values() if own in each.get("x-kubernetes-group-version-kind", ())]
        if len(described) != 1 or not described[0].get("description"):
            found.add(kind.kind)
        for each in described:
            found |= {f"{kind.kind} {name}" for name, told in each["properties"].items() if not told.get("description")}
    return found


@pytest.mark.timeout(120)  # as above
@pytest.mark.logs_errors("building the OpenAPI documents failed")
async def test_a_failed_build_leaves_no_index_and_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    await files.build_apart(tmp_path / "file" / "key")
    assert files.load_index(tmp_path / "file" / "key") is None
    assert "building the OpenAPI documents failed" in caplog.text
