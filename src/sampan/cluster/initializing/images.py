"""The images of a release, as kubeadm lists them, for who mirrors them. No cluster of ours needs any of them. Pure."""

from __future__ import annotations

from sampan import KUBERNETES_VERSION

#: of v1.37; upstream's cmd/kubeadm/app/constants
COREDNS, PAUSE, ETCD = "v1.14.6", "3.10.2", "3.7.0-0"


def listed(repository: str = "registry.k8s.io", version: str = "") -> list[str]:
    tag = f"v{(version or KUBERNETES_VERSION).removeprefix('v')}"
    programs = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
    coredns = f"{repository}/coredns/coredns" if repository == "registry.k8s.io" else f"{repository}/coredns"
    return [
        *(f"{repository}/{program}:{tag}" for program in programs),
        f"{coredns}:{COREDNS}",
        f"{repository}/pause:{PAUSE}",
        f"{repository}/etcd:{ETCD}",
    ]
