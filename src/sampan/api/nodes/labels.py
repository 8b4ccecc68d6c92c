"""Labels that a node gives itself: which it may (as upstream's kubelet and NodeRestriction have it), and how its flag
``--node-labels`` writes them. Pure.
"""

from __future__ import annotations

from sampan.api import names

_ALLOWED = frozenset(
    {
        "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os", "node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
    }
)  # fmt: skip
_ALLOWED_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESTRICTED_DOMAIN = "node-restriction.kubernetes.io"


def kubelet_may_set(label: str) -> bool:
    domain = label.partition("/")[0] if "/" in label else ""
    if _within(domain, _RESTRICTED_DOMAIN):
        return False
    if label in _ALLOWED or any(_within(domain, allowed) for allowed in _ALLOWED_DOMAINS):
        return True
    return not (_within(domain, "kubernetes.io") or _within(domain, "k8s.io"))


def _within(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith("." + parent)


def parse(text: str) -> dict[str, str]:
    """``a=b,c=d``. Raises ValueError for what is no label, or not a node's to set."""
    found = {}
    for each in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = each.partition("=")
        found[name] = value
    for name, value in found.items():
        if wrong := [*names.qualified_name(name), *names.label_value(value)]:
            raise ValueError(f"{name}={value}: {wrong[0]}")
    if refused := sorted(name for name in found if not kubelet_may_set(name)):
        raise ValueError(
            f"{', '.join(refused)}: a node may not give itself labels of kubernetes.io or k8s.io, but for those of "
            f"{' and '.join(_ALLOWED_DOMAINS)} and {', '.join(sorted(_ALLOWED))}"
        )
    return found
