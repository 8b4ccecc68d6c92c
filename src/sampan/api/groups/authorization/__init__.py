"""The group ``authorization.k8s.io``: its versions, most preferred first, and the modules of its kinds."""

NAME = "authorization.k8s.io"
VERSIONS = ("v1",)
MODULES = (
    "localsubjectaccessreview",
    "selfsubjectaccessreview",
    "selfsubjectrulesreview",
    "subjectaccessreview",
)
