"""Names of container images: what a short name stands for, and what a tag says of pulling. Pure.

Grammar and completion are those of ``distribution/reference``, which the kubelet and every runtime share.
"""

from __future__ import annotations

import re
from typing import Literal

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    r"(?:(?P<domain>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?)/)?"
    rf"(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
#: More than the longest name (255), tag and digest together.
_LONGEST = 1024


def complete(image: str) -> str:
    """``busybox`` becomes ``docker.io/library/busybox:latest``. Raises ValueError."""
    match = _REFERENCE.fullmatch(image) if len(image) <= _LONGEST else None
    if match is None:
        raise ValueError("invalid reference format")
    domain, path = match["domain"], match["path"]
    if domain is not None and not ("." in domain or ":" in domain or domain == "localhost"):
        domain, path = None, f"{domain}/{path}"
    if domain is None or domain == "index.docker.io":
        domain = "docker.io"
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    suffix = f":{match['tag']}" if match["tag"] else "" if match["digest"] else ":latest"
    return f"{domain}/{path}{suffix}" + (f"@{match['digest']}" if match["digest"] else "")


def with_tag(image: str) -> str:
    """With ``:latest`` when it has neither tag nor digest: the form in which a node's images are compared with a
    pod's (the scheduler's ``normalizedImageName``)."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


def default_policy(image: str) -> Literal["Always", "IfNotPresent"]:
    """When an image is pulled if its container does not say."""
    try:
        name = complete(image).rpartition("/")[2]
    except ValueError:
        return "IfNotPresent"
    return "Always" if name.endswith(":latest") and "@" not in name else "IfNotPresent"
