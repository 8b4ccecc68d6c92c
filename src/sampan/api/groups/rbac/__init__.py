"""The group ``rbac.authorization.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "rbac.authorization.k8s.io"
VERSIONS = ("v1",)
MODULES = (
    "clusterrole",
    "clusterrolebinding",
    "role",
    "rolebinding",
)
