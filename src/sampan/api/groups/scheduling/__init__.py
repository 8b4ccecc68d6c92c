"""The group ``scheduling.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "scheduling.k8s.io"
VERSIONS = ("v1", "v1beta1", "v1alpha3")
MODULES = (
    "compositepodgroup",
    "podgroup",
    "priorityclass",
    "workload",
)
