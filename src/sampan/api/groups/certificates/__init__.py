"""The group ``certificates.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "certificates.k8s.io"
VERSIONS = ("v1",)
MODULES = (
    "certificatesigningrequest",
    "clustertrustbundle",
    "podcertificaterequest",
)
