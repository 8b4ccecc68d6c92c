"""Every built-in kind, a folder a group, a file a kind.

``sampan.api.registry`` reads ``GROUPS``, which is in discovery order (kube-apiserver's group priorities).
"""

GROUPS = (
    "core",
    "apiregistration",
    "apps",
    "events",
    "authentication",
    "authorization",
    "autoscaling",
    "batch",
    "certificates",
    "networking",
    "policy",
    "rbac",
    "storage",
    "admissionregistration",
    "apiextensions",
    "scheduling",
    "coordination",
    "node",
    "discovery",
    "resource",
    "flowcontrol",
    "internal_apiserver",
    "storagemigration",
    "lifecycle",
)
