"""Compiles ``api/validation/data/pod-layout.json``: how Go's internal types of a pod spec look as JSON.

A refused update of a pod shows what differs as lines of the JSON of upstream's internal structs: Go's names, in their
order, with everything that is unset. Source: a description of the v1 types (``fields.json`` of a reference recording),
and the differences of the internal types from these, which are written down here.

    python tools/compile_pod_layout.py path/to/fields.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

CORE = "io.k8s.api.core.v1."
TARGET = Path(__file__).parent.parent / "src/sampan/api/validation/data/pod-layout.json"

#: names that are not the JSON name with a capital
GO_NAMES = {
    "apiGroup": "APIGroup", "apiVersion": "APIVersion", "awsElasticBlockStore": "AWSElasticBlockStore",
    "cephfs": "CephFS", "chapAuthDiscovery": "DiscoveryCHAPAuth", "chapAuthSession": "SessionCHAPAuth", "csi": "CSI",
    "datasetUUID": "DatasetUUID", "diskURI": "DataDiskURI", "dnsConfig": "DNSConfig", "dnsPolicy": "DNSPolicy",
    "endpoints": "EndpointsName", "fc": "FC", "fsGroup": "FSGroup", "fsGroupChangePolicy": "FSGroupChangePolicy",
    "fsType": "FSType", "gcePersistentDisk": "GCEPersistentDisk", "gmsaCredentialSpec": "GMSACredentialSpec",
    "gmsaCredentialSpecName": "GMSACredentialSpecName", "grpc": "GRPC", "httpGet": "HTTPGet",
    "httpHeaders": "HTTPHeaders", "ip": "IP", "iqn": "IQN", "iscsi": "ISCSI", "iscsiInterface": "ISCSIInterface",
    "nfs": "NFS", "os": "OS", "pdID": "PdID", "pdName": "PDName", "rbd": "RBD", "seLinuxChangePolicy":
    "SELinuxChangePolicy", "seLinuxOptions": "SELinuxOptions", "sslEnabled": "SSLEnabled", "storageos": "StorageOS",
    "targetWWNs": "TargetWWNs", "tcpSocket": "TCPSocket", "tty": "TTY", "wwids": "WWIDs",
}  # fmt: skip
#: the same, of one type alone
NAMES_OF = {("RBDVolumeSource", "image"): "RBDImage", ("RBDVolumeSource", "monitors"): "CephMonitors",
            ("RBDVolumeSource", "pool"): "RBDPool", ("RBDVolumeSource", "user"): "RadosUser",
            ("PersistentVolumeClaimTemplate", "metadata"): ""}  # fmt: skip
#: fields in the order of the internal type, where it is another
ORDER: dict[str, str] = {
    "PodSpec": (
        "volumes initContainers containers ephemeralContainers restartPolicy terminationGracePeriodSeconds "
        "activeDeadlineSeconds dnsPolicy nodeSelector serviceAccountName automountServiceAccountToken nodeName "
        "securityContext imagePullSecrets hostname subdomain setHostnameAsFQDN affinity schedulerName tolerations "
        "hostAliases priorityClassName priority preemptionPolicy dnsConfig readinessGates runtimeClassName overhead "
        "enableServiceLinks topologySpreadConstraints os schedulingGates resourceClaims resources hostnameOverride "
        "schedulingGroup"
    ),
    "Volume": (
        "name hostPath emptyDir gcePersistentDisk awsElasticBlockStore gitRepo secret nfs iscsi glusterfs "
        "persistentVolumeClaim rbd quobyte flexVolume cinder cephfs flocker downwardAPI fc azureFile configMap "
        "vsphereVolume azureDisk photonPersistentDisk projected portworxVolume scaleIO storageos csi ephemeral image"
    ),
    "PodSecurityContext": (
        "hostNetwork hostPID hostIPC shareProcessNamespace hostUsers seLinuxOptions windowsOptions runAsUser "
        "runAsGroup runAsNonRoot supplementalGroups supplementalGroupsPolicy fsGroup sysctls fsGroupChangePolicy "
        "seccompProfile appArmorProfile seLinuxChangePolicy"
    ),
}
#: fields of the spec that stand in the security context there
OF_SECURITY = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")
ROOTS = ("PodSpec", "EphemeralContainer")


def main() -> None:
    facts: dict[str, dict[str, Any]] = json.loads(Path(sys.argv[1]).read_text())
    layouts: dict[str, list[list[Any]]] = {}
    left = list(ROOTS)
    while left:
        name = left.pop()
        if name not in layouts:
            layouts[name], more = layout(name, facts)
            left += more
    TARGET.parent.mkdir(exist_ok=True)
    lines = [f' "{name}": {json.dumps(rows, separators=(",", ":"))}' for name, rows in sorted(layouts.items())]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def layout(name: str, facts: dict[str, dict[str, Any]]) -> tuple[list[list[Any]], list[str]]:
    """``[JSON name, Go name, zero, type of what it holds]`` a field, and the types that are held. No Go name: the
    fields of what it holds stand in its place."""
    known = dict(facts[CORE + name])
    if name == "PodSecurityContext":
        known |= {key: facts[f"{CORE}PodSpec"][key] for key in OF_SECURITY}
    rows: list[list[Any]] = []
    held: list[str] = []
    for key in ORDER[name].split() if name in ORDER else known["$order"]:
        fact = known[key]
        inner = inner_type(fact, facts)
        go = NAMES_OF.get((name, key), GO_NAMES.get(key) or key[0].upper() + key[1:])
        rows.append([key, go, zero(fact, inner), inner])
        held += [inner] if inner else []
    return rows, held


def inner_type(fact: dict[str, Any], facts: dict[str, dict[str, Any]]) -> str:
    """The struct of the core group that a field holds, alone or in a list; "": anything else."""
    found = re.search(r"io\.k8s\.api\.core\.v1\.(\w+)$", fact.get("type", ""))
    if found is None or "struct" not in (fact.get("kind"), fact.get("elem")) or fact.get("kind") == "map":
        return ""
    return found[1] if "$order" in facts.get(CORE + found[1], {}) else ""


def zero(fact: dict[str, Any], inner: str) -> Any:
    kind = fact.get("kind", "")
    if fact.get("pointer") or kind in ("slice", "map", "bytes"):
        return None
    if kind == "struct":
        return {} if inner else "0"  # a Quantity
    return {"string": "", "bool": False}.get(kind, 0)


if __name__ == "__main__":
    main()
