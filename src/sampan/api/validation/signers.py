"""Names of signers (``example.com/name``), and what projections of certificates say of them.

Upstream: ``pkg/apis/core/validation`` ``ValidateSignerName``, ``ValidateClusterTrustBundleName``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sampan.api import errors, names
from sampan.api.errors import quoted
from sampan.api.metadata import ANNOTATIONS_LIMIT_BYTES, annotations_size
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_DOMAIN: Final = 253
_LONGEST: Final = 571
KEY_TYPES: Final = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
_SHORTEST_SECONDS: Final = 3600
#: for signers of Kubernetes itself, and for others
_LONGEST_SECONDS: Final = (24 * 3600, 91 * 24 * 3600)


def signer_name(name: str, path: str) -> Errors:
    if not name:
        return [errors.required(path)]
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        text = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [errors.invalid(path, name, text)]
    found: Errors = []
    if len(domain) > _DOMAIN:
        found.append(errors.too_long(path, _DOMAIN))
    labels = domain.split(".")
    found += _first_bad(labels, domain, path, names.dns1123_label)
    if len(labels) < 2:
        text = "should be a domain with at least two segments separated by dots"
        found.append(errors.invalid(path, domain, text))
    found += _first_bad(rest.split("."), rest, path, names.dns1123_subdomain)
    if len(name) > _LONGEST:
        found.append(errors.too_long(path, _LONGEST))
    return found


def _first_bad(labels: list[str], shown: str, path: str, check: names.NameCheck) -> Errors:
    for label in labels:
        if problems := check(label):
            return [errors.invalid(path, shown, f"validating label {quoted(label)}: {text}") for text in problems]
    return []


def trust_bundle_name(name: str) -> list[str]:
    """``signer:domain:name`` of a bundle of a signer, else a name without colons."""
    prefix, colon, last = name.rpartition(":")
    if colon and not prefix:
        return ['ClusterTrustBundle without signer name must not have ":" in its name']
    return names.dns1123_subdomain(last)


def user_annotations(annotations: Mapping[str, str], path: str) -> Errors:
    """What a pod tells its signer: annotations whose keys have a domain."""
    found: Errors = []
    for key in annotations:
        faults = common.named(names.qualified_name, key.lower(), path)
        if not faults and "/" not in key:
            text = 'must be a domain-prefixed key (such as "acme.io/foo")'
            faults.append(errors.invalid(path, key.lower(), text))
        found += faults
    if annotations_size(dict(annotations)) > ANNOTATIONS_LIMIT_BYTES:
        found.append(errors.too_long(path, ANNOTATIONS_LIMIT_BYTES))
    return found


def pod_certificate(source: Obj, path: str) -> Errors:
    """A podCertificate projection, but for its paths."""
    name = source.get("signerName", "")
    found = signer_name(name, f"{path}.signerName")
    if source.get("userAnnotations"):
        found += user_annotations(source["userAnnotations"], f"{path}.userAnnotations")
    if source.get("keyType", "") not in KEY_TYPES:
        found.append(errors.not_supported(f"{path}.keyType", source.get("keyType", ""), KEY_TYPES))
    seconds = source.get("maxExpirationSeconds")
    if seconds is None:
        return found
    if seconds < _SHORTEST_SECONDS:
        text = f"if provided, maxExpirationSeconds must be >= {_SHORTEST_SECONDS}"
        found.append(errors.invalid(f"{path}.maxExpirationSeconds", seconds, text))
    longest = _LONGEST_SECONDS[0 if is_kubernetes_signer(name) else 1]
    if seconds > longest:
        text = f"if provided, maxExpirationSeconds must be <= {longest}"
        found.append(errors.invalid(f"{path}.maxExpirationSeconds", seconds, text))
    return found


def is_kubernetes_signer(name: str) -> bool:
    domain = name.partition("/")[0]
    return domain == "kubernetes.io" or domain.endswith(".kubernetes.io")
