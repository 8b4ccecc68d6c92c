from __future__ import annotations

import pytest

from sampan.api.imagenames import default_policy, normalize_reference, repository_of

_DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1", "docker.io/library/busybox:1"),
        ("me/app", "docker.io/me/app:latest"),
        ("index.docker.io/me/app:1", "docker.io/me/app:1"),
        ("registry.example:5000/a/b:c", "registry.example:5000/a/b:c"),
        ("registry:5000/a", "registry:5000/a:latest"),
        ("[::1]:5000/a:1", "[::1]:5000/a:1"),
        ("REGISTRY/a:1", "REGISTRY/a:1"),
        ("localhost/app", "localhost/app:latest"),
        ("sampan.local/demo:1", "sampan.local/demo:1"),
        (f"a@{_DIGEST}", f"docker.io/library/a@{_DIGEST}"),
        (f"a:1@{_DIGEST}", f"docker.io/library/a:1@{_DIGEST}"),
    ],
)
def test_references_are_completed(image: str, reference: str) -> None:
    assert normalize_reference(image) == reference


def test_a_repository_is_a_reference_without_tag_and_digest() -> None:
    assert repository_of(f"r.example:5000/a/b:1@{_DIGEST}") == "r.example:5000/a/b"


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("http://a/b", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("busybox\n", "invalid reference format"),
        ("a:" + "t" * 129, "invalid reference format"),
        ("a@sha256:123", "invalid reference format"),
        ("x" * 5000, "invalid reference format"),
        ("UPPER", r"invalid reference format: repository name \(library/UPPER\) must be lowercase"),
        ("r.example/Team/app:1", r"invalid reference format: repository name \(Team/app\) must be lowercase"),
        ("0" * 64, "cannot specify 64-byte hexadecimal strings"),
        ("a/" * 120 + "bcdefghijklmnopq", "repository name must not be more than 255 characters"),
    ],
)
def test_bad_references_are_refused(image: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        normalize_reference(image)


def test_the_default_policy_follows_the_tag() -> None:
    assert default_policy("a") == default_policy("a:latest") == "Always"
    assert default_policy("a:1") == default_policy(f"a@{_DIGEST}") == default_policy("UPPER") == "IfNotPresent"
