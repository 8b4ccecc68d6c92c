"""The default Roles and RoleBindings inside kube-system and kube-public."""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.server.authz.policy.notation import binding, role

_EVENTS = "create patch update | core events.k8s.io | events"
_SYSTEM, _PUBLIC = "kube-system", "kube-public"


def roles() -> list[Obj]:
    return [
        role(
            "extension-apiserver-authentication-reader",
            "get list watch | core | configmaps | extension-apiserver-authentication",
            namespace=_SYSTEM,
        ),
        role("system:controller:bootstrap-signer", "read | core | secrets", namespace=_SYSTEM),
        role("system:controller:cloud-provider", "create get list watch | core | configmaps", namespace=_SYSTEM),
        role(
            "system:controller:token-cleaner", "delete get list watch | core | secrets\n" + _EVENTS, namespace=_SYSTEM
        ),
        role(
            "system::leader-locking-kube-controller-manager",
            "create get list update watch | coordination.k8s.io | leases\n"
            "create get list update watch | coordination.k8s.io | leasecandidates",
            namespace=_SYSTEM,
        ),
        role(
            "system::leader-locking-kube-scheduler",
            "create get list update watch | coordination.k8s.io | leases\n"
            "create get list update watch | coordination.k8s.io | leasecandidates",
            namespace=_SYSTEM,
        ),
        role(
            "system:controller:bootstrap-signer",
            "read | core | configmaps\nupdate | core | configmaps | cluster-info\n" + _EVENTS,
            namespace=_PUBLIC,
        ),
    ]


def role_bindings() -> list[Obj]:
    def bind(name: str, *subjects: str, namespace: str = _SYSTEM, to: str = "") -> Obj:
        return binding(name, to or name, *subjects, namespace=namespace, role_kind="Role")

    manager, scheduler = "system:kube-controller-manager", "system:kube-scheduler"
    signer = "system:controller:bootstrap-signer"
    return [
        bind(
            "system::extension-apiserver-authentication-reader",
            f"User:{manager}",
            f"User:{scheduler}",
            to="extension-apiserver-authentication-reader",
        ),
        bind(
            "system::leader-locking-kube-controller-manager",
            f"User:{manager}",
            f"ServiceAccount:{_SYSTEM}/kube-controller-manager",
            f"ServiceAccount:{_SYSTEM}/leader-election-controller",
        ),
        bind(
            "system::leader-locking-kube-scheduler",
            f"User:{scheduler}",
            f"ServiceAccount:{_SYSTEM}/kube-scheduler",
        ),
        bind(signer, f"ServiceAccount:{_SYSTEM}/bootstrap-signer"),
        bind("system:controller:cloud-provider", f"ServiceAccount:{_SYSTEM}/cloud-provider"),
        bind("system:controller:token-cleaner", f"ServiceAccount:{_SYSTEM}/token-cleaner"),
        bind(signer, f"ServiceAccount:{_SYSTEM}/bootstrap-signer", namespace=_PUBLIC),
    ]
