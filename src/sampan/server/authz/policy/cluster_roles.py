"""The default ClusterRoles for people, nodes and system components, and their bindings."""

from __future__ import annotations

from sampan.api.types import Obj
from sampan.server.authz.policy.notation import binding, parse_rules, role
from sampan.server.authz.rules import Rule

_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
_EVENTS = "create patch update | core events.k8s.io | events"

_VIEW = """
read | core | configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status
read | core | bindings limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status
read | core | namespaces
read | core events.k8s.io | events
read | discovery.k8s.io | endpointslices
read | apps | controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status
read | autoscaling | horizontalpodautoscalers horizontalpodautoscalers/status
read | batch | cronjobs cronjobs/status jobs jobs/status
read | extensions | daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale
read | policy | poddisruptionbudgets poddisruptionbudgets/status
read | networking.k8s.io | ingresses ingresses/status networkpolicies
read | resource.k8s.io | resourceclaims resourceclaims/status resourceclaimtemplates
"""  # noqa: E501 - a table

_EDIT = """
read | core | pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy
impersonate | core | serviceaccounts
write | core | pods pods/attach pods/exec pods/portforward pods/proxy
create | core | pods/eviction
write | core | configmaps persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy
create | core | serviceaccounts/token
write | core events.k8s.io | events
write | apps | daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale
write | autoscaling | horizontalpodautoscalers
write | batch | cronjobs jobs
write | extensions | daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale
write | policy | poddisruptionbudgets
write | networking.k8s.io | ingresses networkpolicies
all | coordination.k8s.io | leases
write | resource.k8s.io | resourceclaims resourceclaimtemplates
"""  # noqa: E501 - a table

_ADMIN = """
create | authorization.k8s.io | localsubjectaccessreviews
all | rbac.authorization.k8s.io | rolebindings roles
"""

#: what a kubelet may do beyond what the node authorizer decides from its pods
_NODE = """
create | authentication.k8s.io | tokenreviews
create | authorization.k8s.io | localsubjectaccessreviews subjectaccessreviews
read | core | services
create get list watch | core | nodes
patch update | core | nodes/status
patch update | core | nodes
create patch update | core events.k8s.io | events
read | core | pods
create delete | core | pods
patch update | core | pods/status
create | core | pods/eviction
read | core | configmaps secrets
get | core | persistentvolumeclaims persistentvolumes
get | core | endpoints
create get list watch | certificates.k8s.io | certificatesigningrequests
create delete get patch update | coordination.k8s.io | leases
get | storage.k8s.io | volumeattachments
create | core | serviceaccounts/token
get patch update | core | persistentvolumeclaims/status
read | storage.k8s.io | csidrivers
create delete get patch update | storage.k8s.io | csinodes
read | node.k8s.io | runtimeclasses
get | resource.k8s.io | resourceclaims
deletecollection | resource.k8s.io | resourceslices
read | certificates.k8s.io | clustertrustbundles
create get list watch | certificates.k8s.io | podcertificaterequests
get | core | serviceaccounts
"""

_SCHEDULER = """
create patch update | core events.k8s.io | events
create | coordination.k8s.io | leases
get list update watch | coordination.k8s.io | leases | kube-scheduler
all | coordination.k8s.io | leasecandidates
read | core | nodes
delete get list watch | core | pods
create | core | bindings pods/binding
patch update | core | pods/status
read | core | replicationcontrollers services
read | apps extensions | replicasets
read | apps | statefulsets
read | policy | poddisruptionbudgets
read | core | persistentvolumeclaims persistentvolumes
create | authentication.k8s.io | tokenreviews
create | authorization.k8s.io | subjectaccessreviews
read | storage.k8s.io | csinodes
read | storage.k8s.io | volumeattachments
read | core | namespaces
read | storage.k8s.io | csidrivers
read | storage.k8s.io | csistoragecapacities
read | resource.k8s.io | deviceclasses
get list patch update watch | resource.k8s.io | resourceclaims
get list patch update watch | resource.k8s.io | resourceclaims/status
update | core | pods/finalizers
read | resource.k8s.io | resourceslices
create delete | resource.k8s.io | resourceclaims
read | resource.k8s.io | devicetaintrules
patch update | resource.k8s.io | resourceclaims/binding
"""

#: with the gate GenericWorkload
_SCHEDULER_OF_GROUPS = """read | scheduling.k8s.io | podgroups workloads
patch update | scheduling.k8s.io | podgroups/status
"""

_CONTROLLER_MANAGER = """
create patch update | core events.k8s.io | events
create | coordination.k8s.io | leases
get update | coordination.k8s.io | leases | kube-controller-manager
create | core | secrets serviceaccounts
delete | core | secrets
get | core | configmaps namespaces secrets serviceaccounts
update | core | secrets serviceaccounts
create | authentication.k8s.io | tokenreviews
create | authorization.k8s.io | subjectaccessreviews
list watch | * | *
create | core | serviceaccounts/token
"""

_CSR = "certificates.k8s.io"
_APPROVE = "approve | certificates.k8s.io | signers | kubernetes.io/"


def node_rules() -> tuple[Rule, ...]:
    """What the node authorizer grants without looking at the graph."""
    return parse_rules(_NODE)


def _people() -> list[Obj]:
    def labels(*targets: str) -> dict[str, str]:
        return {_AGGREGATE + target: "true" for target in targets}

    return [
        role("cluster-admin", "* | * | *\n* | *"),
        role("admin", "", aggregate=[_AGGREGATE + "admin"]),
        role("edit", "", labels=labels("admin"), aggregate=[_AGGREGATE + "edit"]),
        role("view", "", labels=labels("edit"), aggregate=[_AGGREGATE + "view"]),
        role("system:aggregate-to-admin", _ADMIN, labels=labels("admin")),
        role("system:aggregate-to-edit", _EDIT, labels=labels("edit")),
        role("system:aggregate-to-view", _VIEW, labels=labels("view")),
        role(
            "system:discovery",
            "get | /api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
        ),
        role("system:public-info-viewer", "get | /healthz /livez /readyz /version /version/"),
        role(
            "system:monitoring",
            "get | /flagz /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* /statusz\n"
            "get | core | nodes/metrics",
        ),
        role(
            "system:basic-user",
            "create | authorization.k8s.io | selfsubjectaccessreviews selfsubjectrulesreviews\n"
            "create | authentication.k8s.io | selfsubjectreviews",
        ),
        # As metrics-server has it: who may look at pods and nodes may look at what they use.
        role(
            "system:aggregated-metrics-reader",
            "read | metrics.k8s.io | nodes pods",
            labels=labels("admin", "edit", "view"),
        ),
        role(
            "system:service-account-issuer-discovery",
            "get | /.well-known/openid-configuration /.well-known/openid-configuration/ "
            "/openid/v1/jwks /openid/v1/jwks/",
        ),
    ]


def _components(*, groups: bool) -> list[Obj]:
    return [
        role("system:node", _NODE),
        role(
            "system:node-proxier",
            f"list watch | core | endpoints services\nread | core | nodes\n{_EVENTS}\n"
            "list watch | networking.k8s.io | servicecidrs\nlist watch | discovery.k8s.io | endpointslices",
        ),
        role("system:node-problem-detector", f"get | core | nodes\npatch | core | nodes/status\n{_EVENTS}"),
        role(
            "system:kubelet-api-admin",
            "read | core | nodes\nproxy | core | nodes\n* | core | nodes/log nodes/metrics nodes/proxy nodes/stats\n"
            "* | core | nodes/configz nodes/healthz nodes/pods",
        ),
        role("system:node-bootstrapper", f"create get list watch | {_CSR} | certificatesigningrequests"),
        role(
            "system:auth-delegator",
            "create | authentication.k8s.io | tokenreviews\ncreate | authorization.k8s.io | subjectaccessreviews",
        ),
        role("system:kube-aggregator", "read | core | endpoints services"),
        role("system:kube-controller-manager", _CONTROLLER_MANAGER),
        role("system:kube-scheduler", _SCHEDULER + _SCHEDULER_OF_GROUPS if groups else _SCHEDULER),
        role("system:kube-dns", "list watch | core | endpoints services"),
        role(
            "system:persistent-volume-provisioner",
            "create delete get list watch | core | persistentvolumes\nget list update watch | core | "
            f"persistentvolumeclaims\nread | storage.k8s.io | storageclasses\nwatch | core | events\n{_EVENTS}",
        ),
        role(
            "system:volume-scheduler",
            "get list patch update watch | core | persistentvolumes\nread | storage.k8s.io | storageclasses\n"
            "get list patch update watch | core | persistentvolumeclaims",
        ),
        role("system:heapster", "read | core | events namespaces nodes pods\nread | extensions | deployments"),
        role(
            "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
            f"create | {_CSR} | certificatesigningrequests/nodeclient",
        ),
        role(
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            f"create | {_CSR} | certificatesigningrequests/selfnodeclient",
        ),
        role("system:certificates.k8s.io:kube-apiserver-client-approver", f"{_APPROVE}kube-apiserver-client"),
        role(
            "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver",
            f"{_APPROVE}kube-apiserver-client-kubelet",
        ),
        role("system:certificates.k8s.io:kubelet-serving-approver", f"{_APPROVE}kubelet-serving"),
        role("system:certificates.k8s.io:legacy-unknown-approver", f"{_APPROVE}legacy-unknown"),
        role("system:cluster-trust-bundle-discovery", f"read | {_CSR} | clustertrustbundles"),
    ]


def cluster_roles(*, groups: bool = False) -> list[Obj]:
    """``groups``: the scheduler schedules groups of pods (gate GenericWorkload)."""
    return _people() + _components(groups=groups)


def cluster_role_bindings() -> list[Obj]:
    authenticated, anonymous = "Group:system:authenticated", "Group:system:unauthenticated"
    issuer, dns = "system:service-account-issuer-discovery", "system:kube-dns"
    accounts = "Group:system:serviceaccounts"
    return [
        binding("cluster-admin", "cluster-admin", "Group:system:masters"),
        binding("system:discovery", "system:discovery", authenticated),
        binding("system:basic-user", "system:basic-user", authenticated),
        binding("system:public-info-viewer", "system:public-info-viewer", authenticated, anonymous),
        binding("system:monitoring", "system:monitoring", "Group:system:monitoring"),
        binding("system:node-proxier", "system:node-proxier", "User:system:kube-proxy"),
        binding(
            "system:kube-controller-manager", "system:kube-controller-manager", "User:system:kube-controller-manager"
        ),
        binding("system:kube-scheduler", "system:kube-scheduler", "User:system:kube-scheduler"),
        binding("system:volume-scheduler", "system:volume-scheduler", "User:system:kube-scheduler"),
        binding(dns, dns, "ServiceAccount:kube-system/kube-dns"),
        binding(issuer, issuer, accounts),
        binding("system:cluster-trust-bundle-discovery", "system:cluster-trust-bundle-discovery", accounts),
        # The Node authorizer speaks for nodes; the binding exists without subjects, as upstream keeps it.
        binding("system:node", "system:node"),
        # Sampan's API server reaches the node API under this name (its kubelet client certificate).
        binding("system:kube-apiserver-to-kubelet", "system:kubelet-api-admin", "User:kube-apiserver-kubelet-client"),
    ]
