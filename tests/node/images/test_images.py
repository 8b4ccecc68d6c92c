"""Images that are built here, and images nobody uses."""

from __future__ import annotations

import io
import json
import tarfile

from sampan.node.images.build import File, ImageConfig, build_image


def test_an_image_is_the_same_every_time_and_names_its_layers() -> None:
    def build() -> bytes:
        files = {"bin/sh": File(b"#!", 0o755), "etc/x": File(link="y")}
        return build_image("a.example/b:1", [files], ImageConfig(entrypoint=["/bin/sh"]), "amd64")

    assert build() == build()
    with tarfile.open(fileobj=io.BytesIO(build())) as tar:
        index = json.loads(tar.extractfile("index.json").read())  # type: ignore[union-attr]  # a regular file
        digest = index["manifests"][0]["digest"].removeprefix("sha256:")
        manifest = json.loads(tar.extractfile(f"blobs/sha256/{digest}").read())  # type: ignore[union-attr]
        layer = tar.extractfile(f"blobs/sha256/{manifest['layers'][0]['digest'].removeprefix('sha256:')}")
        assert layer is not None
        with tarfile.open(fileobj=io.BytesIO(layer.read())) as inner:
            assert inner.getnames() == ["bin", "bin/sh", "etc", "etc/x"]
            assert inner.getmember("bin/sh").mode == 0o755
            assert inner.getmember("etc/x").linkname == "y"
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "a.example/b:1"
