"""Pods that are refused for their volumes: every source that has rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kind_harness import LABEL, SUBDOMAIN, Cause, Invalid, duplicate, forbidden, invalid, not_supported
from kind_harness import required as needed

_TWO_TYPES = "may not specify more than 1 volume type"


def _on_minimal(what: str, change: dict[str, Any], causes: Sequence[Cause], *, together: bool = False) -> Invalid:
    return Invalid(what, change, causes, together=together, on="minimal")


def _volume(what: str, source: dict[str, Any], causes: Sequence[Cause], *, together: bool = False) -> Invalid:
    change = {"spec.volumes": [{"name": "v", **source}]}
    return _on_minimal(f"a volume: {what}", change, causes, together=together)


_V = "spec.volumes[0]"
_P = f"{_V}.projected"

VOLUMES = [
    _volume("two sources", {"emptyDir": {}, "hostPath": {"path": "/x"}}, [forbidden(f"{_V}.hostPath", _TWO_TYPES)],
            together=True),
    _volume("less than nothing", {"emptyDir": {"sizeLimit": "-1"}},
            [forbidden(f"{_V}.emptyDir.sizeLimit", "SizeLimit field must be a valid resource quantity")]),
    _volume("a path that climbs, of an unknown type", {"hostPath": {"path": "/a/../b", "type": "Sock"}}, [
        invalid(f"{_V}.hostPath.path", '"/a/../b"', "must not contain '..'"),
        not_supported(f"{_V}.hostPath.type", '"Sock"', "", "BlockDevice", "CharDevice", "Directory",
                      "DirectoryOrCreate", "File", "FileOrCreate", "Socket"),
    ]),
    _volume("a repository into a folder outside", {"gitRepo": {"repository": "r", "directory": "/../x"}}, [
        invalid(f"{_V}.gitRepo.directory", '"/../x"', "must be a relative path"),
        invalid(f"{_V}.gitRepo.directory", '"/../x"', "must not contain '..'"),
    ]),
    _volume("a partition that no disk has", {"gcePersistentDisk": {"pdName": "d", "partition": 256}},
            [invalid(f"{_V}.persistentDisk.partition", "256", "must be between 1 and 255, inclusive")]),
    _volume("no secret", {"secret": {"defaultMode": 512}}, [
        needed(f"{_V}.secret.secretName"),
        invalid(f"{_V}.secret.defaultMode", "512", "must be a number between 0 and 0777 (octal), both inclusive"),
    ]),
    _volume("an item of nothing", {"configMap": {"name": "m", "items": [{"key": "", "path": "..x"}]}}, [
        needed(f"{_V}.configMap.items[0].key"),
        invalid(f"{_V}.configMap.items[0].path", '"..x"', "must not start with '..'"),
    ]),
    _volume("a relative export", {"nfs": {"server": "s", "path": "x"}},
            [invalid(f"{_V}.nfs.path", '"x"', "must be an absolute path")]),
    _volume("iscsi of many faults", {"iscsi": {"targetPortal": "p" * 70, "iqn": "iqn.x", "lun": 256,
                                               "chapAuthSession": True, "initiatorName": "x"}}, [
        invalid(f"{_V}.iscsi.iqn", '"iqn.x"', "must be valid format"),
        invalid(f"{_V}.iscsi.lun", "256", "must be between 0 and 255, inclusive"),
        needed(f"{_V}.iscsi.secretRef"),
        invalid(f"{_V}.iscsi.initiatorname", '"x"', "must be valid format starting with iqn, eui, or naa"),
        invalid(f"{_V}.name", '"v"', "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters "
                "if iscsi.initiatorName is specified."),
    ], together=True),
    _volume("flocker by name and by id", {"flocker": {"datasetName": "a/b", "datasetUUID": "u"}}, [
        invalid(f"{_V}.flocker", '"resource"', "datasetName and datasetUUID can not be specified simultaneously"),
        invalid(f"{_V}.flocker.datasetName", '"a/b"', "must not contain '/'"),
    ], together=True),
    _volume("no claim", {"persistentVolumeClaim": {"claimName": ""}},
            [needed(f"{_V}.persistentVolumeClaim.claimName")]),
    _volume("a disk of a kind, of another's address", {"azureDisk": {"diskName": "d", "diskURI": "https://x",
                                                                     "kind": "Managed"}}, [
        not_supported(f"{_V}.azureDisk.diskURI", '"https://x"', "/subscriptions/{sub-id}/resourcegroups/{group-name}/"
                      "providers/microsoft.compute/disks/{disk-id}"),
    ], together=True),
    _volume("fibre channel without a number", {"fc": {"targetWWNs": ["a"], "wwids": ["b"]}}, [
        invalid(f"{_V}.fc.targetWWNs", '["a"]', "targetWWNs and wwids can not be specified simultaneously"),
        needed(f"{_V}.fc.lun", "lun is required if targetWWNs is specified"),
    ], together=True),
    _volume("options that are reserved", {"flexVolume": {"driver": "d", "options": {"a.K8s.io/x": "1"}}}, [
        invalid(f"{_V}.flexVolume.options[a.K8s.io/x]", '"a.K8s.io/x"', "kubernetes.io and k8s.io namespaces are "
                "reserved"),
    ]),
    _volume("a registry that is no address", {"quobyte": {"registry": "a,b:1", "volume": "x"}}, [
        invalid(f"{_V}.quobyte.registry", '"a,b:1"', "must be a host:port pair or multiple pairs separated by commas"),
    ]),
    _volume("a driver's secret without a name", {"csi": {"driver": "D_", "nodePublishSecretRef": {"name": ""}}}, [
        invalid(f"{_V}.csi.driver", '"D_"', SUBDOMAIN), needed(f"{_V}.csi.nodePublishSecretRef.name"),
    ]),
    _volume("a claim of nothing", {"ephemeral": {"volumeClaimTemplate": {"metadata": {"name": "x"}, "spec": {}}}}, [
        forbidden(f"{_V}.ephemeral.volumeClaimTemplate.metadata.name", "cannot be set"),
        needed(f"{_V}.ephemeral.volumeClaimTemplate.spec.accessModes", "at least 1 access mode is required"),
        needed(f"{_V}.ephemeral.volumeClaimTemplate.spec.resources[storage]"),
    ]),
    _on_minimal(
        "a volume that is the claim which another makes",
        {"spec.volumes": [
            {"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}}}}},
            {"name": "p", "persistentVolumeClaim": {"claimName": "a-e"}},
        ]},
        [invalid("spec.volumes[1].persistentVolumeClaim.claimName", '"a-e"',
                 "must not reference a PVC that gets created for an ephemeral volume")],
        together=True,
    ),
    _volume("no image", {"image": {"pullPolicy": "Often"}}, [
        needed(f"{_V}.image.reference"),
        not_supported(f"{_V}.image.pullPolicy", '"Often"', "Always", "IfNotPresent", "Never"),
    ]),
    _volume("two sources of one projection, and one path of two", {"projected": {"sources": [
        {"secret": {"name": "s", "items": [{"key": "k", "path": "p"}]},
         "configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}}]}}, [
        invalid(_P, '"m"', "conflicting duplicate paths"),
        forbidden(f"{_P}.sources[0]", "may not specify more than 1 volume type per source"),
    ], together=True),
    _volume("a token for a moment", {"projected": {"sources": [
        {"serviceAccountToken": {"path": "/t", "expirationSeconds": 599}}]}}, [
        invalid(f"{_P}.sources[0].serviceAccountToken.expirationSeconds", "599",
                "may not specify a duration less than 10 minutes"),
        invalid(f"{_P}.path", '"/t"', "must be a relative path"),
        forbidden(f"{_P}.sources[0].serviceAccountToken", "must not be specified when serviceAccountName is not set"),
    ], together=True),
    _volume("a bundle by name and by signer", {"projected": {"sources": [
        {"clusterTrustBundle": {"name": "n", "signerName": "a.io/b", "path": "p"}}]}}, [
        invalid(f"{_P}.sources[0].clusterTrustBundle",
                '{"Name":"n","SignerName":"a.io/b","LabelSelector":null,"Optional":null,"Path":"p"}',
                "only one of name and signerName may be used"),
    ], together=True),
    _volume("a certificate of no signer, for a minute, nowhere", {"projected": {"sources": [
        {"podCertificate": {"signerName": "b", "keyType": "RSA1024", "maxExpirationSeconds": 60}}]}}, [
        invalid(f"{_P}.sources[0].podCertificate.signerName", '"b"',
                "must be a fully qualified domain and path of the form 'example.com/signer-name'"),
        not_supported(f"{_P}.sources[0].podCertificate.keyType", '"RSA1024"', "RSA3072", "RSA4096", "ECDSAP256",
                      "ECDSAP384", "ECDSAP521", "ED25519"),
        invalid(f"{_P}.sources[0].podCertificate.maxExpirationSeconds", "60",
                "if provided, maxExpirationSeconds must be >= 3600"),
        needed(f"{_P}.sources[0].podCertificate",
               "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"),
    ]),
    _volume("a field that files do not show", {"downwardAPI": {"items": [
        {"path": "p", "fieldRef": {"fieldPath": "status.podIP"}}, {"path": "q"}]}}, [
        not_supported(f"{_V}.downwardAPI.fieldRef.fieldPath", '"status.podIP"', "metadata.annotations",
                      "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"),
        needed(f"{_V}.downwardAPI", "one of fieldRef and resourceFieldRef is required"),
    ]),
    _on_minimal("two volumes of one name", {"spec.volumes": [{"name": "v"}, {"name": "v"}, {"name": "A"}]}, [
        duplicate("spec.volumes[1].name", '"v"'), invalid("spec.volumes[2].name", '"A"', LABEL),
    ]),
]  # fmt: skip
