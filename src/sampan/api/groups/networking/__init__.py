"""The group ``networking.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "networking.k8s.io"
VERSIONS = ("v1",)
MODULES = (
    "ingress",
    "ingressclass",
    "ipaddress",
    "networkpolicy",
    "servicecidr",
)
