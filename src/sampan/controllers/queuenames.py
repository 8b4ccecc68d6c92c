"""What upstream calls the work queues of its controllers in metrics, by the names of ours. Declarations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

QUEUE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bootstrap-signer": "bootstrap_signer_queue",
        "certificate-controller": "certificate",
        "cronjob-controller": "cronjob",
        "daemonset-controller": "daemonset",
        "deployment-controller": "deployment",
        "disruption-controller": "disruption",
        "endpoint-controller": "endpoint",
        "endpointslice-controller": "endpoint_slice",
        "endpointslicemirroring-controller": "endpoint_slice_mirroring",
        "ephemeral-volume-controller": "ephemeral_volume",
        "generic-garbage-collector": "garbage_collector_attempt_to_delete",
        "horizontal-pod-autoscaler-controller": "horizontalpodautoscaler",
        "job-controller": "job",
        "job-controller of orphans": "job_orphan_pod",
        "kube-apiserver-serving-clustertrustbundle-publisher": "ca_cert_publisher_cluster_trust_bundles",
        "namespace-controller": "namespace",
        "node-ipam-controller": "node",
        "node-controller": "node_lifecycle_controller",
        "persistentvolume-protection-controller": "pvprotection",
        "persistentvolumeclaim-protection-controller": "pvcprotection",
        "replicaset-controller": "replicaset",
        "replicationcontroller-controller": "replicationmanager",
        "resourcequota-controller": "resourcequota_primary",
        "root-ca-cert-publisher": "root_ca_cert_publisher",
        "service-cidr-controller": "servicecidrs",
        "service-account-controller": "serviceaccount",
        "service-controller": "service",
        "statefulset-controller": "statefulset",
        "taint-eviction-controller": "noexec_taint_pod",
        "token-cleaner": "token_cleaner",
        "ttl-after-finished-controller": "ttl_jobs_to_delete",
        "ttl-controller": "ttlcontroller",
        "validatingadmissionpolicy-status-controller": "validatingadmissionpolicy-status",
    }
)
