"""The real build, as the server runs it."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

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


@pytest.mark.timeout(120)  # as above
@pytest.mark.logs_errors("building the OpenAPI documents failed")
async def test_a_failed_build_leaves_no_index_and_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    await files.build_apart(tmp_path / "file" / "key")
    assert files.load_index(tmp_path / "file" / "key") is None
    assert "building the OpenAPI documents failed" in caplog.text
