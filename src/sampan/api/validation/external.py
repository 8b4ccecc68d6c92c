"""Names of what stands outside the cluster and acts for it: storage and device drivers, signers of certificates.

Spec: core/validation ``ValidateCSIDriverName``, ``ValidateSignerName``; storage/validation ``validateProvisioner``.
"""

from __future__ import annotations

from sampan.api import errors, names
from sampan.api.validation.common import Errors

_LONGEST_DRIVER = 63
_LONGEST_SUBDOMAIN, _LONGEST_LABEL = 253, 63
#: a domain, a slash, and what holds the name of an object in a namespace: label, dot, subdomain
_LONGEST_SIGNER = _LONGEST_SUBDOMAIN + 1 + _LONGEST_SUBDOMAIN + 1 + _LONGEST_LABEL
#: signers with these domains are Kubernetes' own
_OWN = ("kubernetes.io", ".kubernetes.io")


def driver(name: str, path: str) -> Errors:
    """Of a CSI or DRA driver: a subdomain in any case, short enough for a label."""
    found: Errors = [] if name else [errors.required(path)]
    if len(name) > _LONGEST_DRIVER:
        found.append(errors.too_long(path, _LONGEST_DRIVER))
    return found + [errors.invalid(path, name, text) for text in names.dns1123_subdomain(name.lower())]


def provisioner(name: str, path: str) -> Errors:
    if not name:
        return [errors.required(path)]
    return [errors.invalid(path, name.lower(), text) for text in names.qualified_name(name.lower())]


def signer(name: str, path: str) -> Errors:
    if not name:
        return [errors.required(path)]
    parts = name.split("/")
    if len(parts) != 2:
        text = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [errors.invalid(path, name, text)]
    domain, below = parts
    found: Errors = [errors.too_long(path, _LONGEST_SUBDOMAIN)] if len(domain) > _LONGEST_SUBDOMAIN else []
    found += _labels(domain, names.dns1123_label, path)
    if "." not in domain:
        found.append(errors.invalid(path, domain, "should be a domain with at least two segments separated by dots"))
    found += _labels(below, names.dns1123_subdomain, path)
    if len(name) > _LONGEST_SIGNER:
        found.append(errors.too_long(path, _LONGEST_SIGNER))
    return found


def _labels(text: str, check: names.NameCheck, path: str) -> Errors:
    """The faults of the first label that has any."""
    for label in text.split("."):
        if faults := check(label):
            return [errors.invalid(path, text, f"validating label {errors.quoted(label)}: {fault}") for fault in faults]
    return []


def is_own_signer(name: str) -> bool:
    """Of Kubernetes itself, whose certificates are short-lived."""
    domain = name.partition("/")[0]
    return domain == _OWN[0] or domain.endswith(_OWN[1])
