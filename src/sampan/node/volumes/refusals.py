"""Types of volumes that the API keeps and this node does not do, each with what does it instead. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: in-tree plug-ins whose work drivers of the Container Storage Interface do, by the driver's name
_DRIVERS: Final[Mapping[str, str]] = {
    "awsElasticBlockStore": "ebs.csi.aws.com",
    "azureDisk": "disk.csi.azure.com",
    "azureFile": "file.csi.azure.com",
    "cephfs": "cephfs.csi.ceph.com",
    "cinder": "cinder.csi.openstack.org",
    "gcePersistentDisk": "pd.csi.storage.gke.io",
    "iscsi": "iscsi.csi.k8s.io",
    "portworxVolume": "pxd.portworx.com",
    "rbd": "rbd.csi.ceph.com",
    "scaleIO": "csi-vxflexos.dellemc.com",
    "storageos": "csi.storageos.com",
    "vsphereVolume": "csi.vsphere.vmware.com",
}
#: the others
_INSTEAD: Final[Mapping[str, str]] = {
    "fc": "a volume of type local on the device, or a CSI driver, does it",
    "flexVolume": "a CSI driver takes its place",
    "flocker": "Kubernetes has removed it, and nothing takes its place",
    "gitRepo": "an init container that clones into an emptyDir does it",
    "glusterfs": "Kubernetes has removed it; NFS or a CSI driver takes its place",
    "photonPersistentDisk": "Kubernetes has removed it, and nothing takes its place",
    "quobyte": "Kubernetes has removed it; a CSI driver takes its place",
}


def refusal(kind: str) -> str:
    """Why no volume of the type is set up."""
    words = f'volume type "{kind}" is not supported by this node'
    if kind in _DRIVERS:
        return f"{words}: the CSI driver {_DRIVERS[kind]} does it"
    return f"{words}: {_INSTEAD[kind]}" if kind in _INSTEAD else words
