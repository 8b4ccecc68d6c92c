"""Sampan: Kubernetes in Python. The layers and their reasons are in docs/architecture.md."""

__version__ = "0.1.0"

#: The Kubernetes release whose API and behaviour this version follows.
KUBERNETES_VERSION = "1.37.0"
