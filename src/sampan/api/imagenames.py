"""Names of images, as people write them and as registries and runtimes know them. Pure. The one home of the matter.

The grammar is the distribution project's, whose words the errors are. Used by the image manager, the keyring,
``sampan image`` and the scheduler.
"""

from __future__ import annotations

import re

_NAME = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?:(?P<domain>{_HOST})/)?(?P<path>{_NAME}(?:/{_NAME})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_BARE_DIGEST = re.compile(r"[a-f0-9]{64}")
_MAX_CHARACTERS = 4096
_MAX_NAME_CHARACTERS = 255


def normalize_reference(image: str) -> str:
    """``busybox`` becomes ``docker.io/library/busybox:latest``. Raises ValueError."""
    repository, tag, digest = _parse(image)
    suffix = f":{tag}" if tag else "" if digest else ":latest"
    return f"{repository}{suffix}" + (f"@{digest}" if digest else "")


def repository_of(image: str) -> str:
    """Where the image lives, without tag and digest: ``docker.io/library/busybox``. Raises ValueError."""
    return _parse(image)[0]


def with_tag(image: str) -> str:
    """With ``:latest`` when it has neither tag nor digest: the form in which the scheduler compares a node's images
    with a pod's (``normalizedImageName``)."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


def default_policy(image: str) -> str:
    """When an image is pulled if its container does not say."""
    try:
        _, tag, digest = _parse(image)
    except ValueError:
        return "IfNotPresent"
    return "Always" if tag in ("", "latest") and not digest else "IfNotPresent"


def _parse(image: str) -> tuple[str, str, str]:
    """Repository, tag, digest; what is not written is ""."""
    if _BARE_DIGEST.fullmatch(image):
        raise ValueError(f"invalid repository name ({image}), cannot specify 64-byte hexadecimal strings")
    match = _REFERENCE.fullmatch(image) if len(image) <= _MAX_CHARACTERS else None
    if match is None:
        raise ValueError(f"invalid reference format{_perhaps_case(image)}")
    domain, path = match["domain"], match["path"]
    # A first part is a registry only when it looks like one: with a dot or a port, or in letters that no path may have.
    is_host = domain and (domain == "localhost" or any(sign in domain for sign in ".:[") or domain != domain.lower())
    if domain is not None and not is_host:
        domain, path = None, f"{domain}/{path}"
    if domain is None or domain == "index.docker.io":
        domain = "docker.io"
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    if len(path) + len(domain) + 1 > _MAX_NAME_CHARACTERS:
        raise ValueError(f"repository name must not be more than {_MAX_NAME_CHARACTERS} characters")
    return f"{domain}/{path}", match["tag"] or "", match["digest"] or ""


def _perhaps_case(image: str) -> str:
    """The one mistake that has a message of its own."""
    lowered = image.lower()
    if image == lowered or not _REFERENCE.fullmatch(lowered):
        return ""
    name = image.partition("@")[0]
    head, slash, rest = name.rpartition("/")
    name = head + slash + rest.partition(":")[0]
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or any(sign in first for sign in ".:")):
        name = rest
    elif not slash:
        name = f"library/{name}"
    return f": repository name ({name}) must be lowercase" if name != name.lower() else ""
