"""What stands beside a CSI driver's controller and speaks for it to the API server: provisioning, growth,
changes of attributes, snapshots.

The part of kubernetes-csi's external-provisioner, -resizer and -snapshotter, in one process (``sampan csi
controller``) that runs in the driver's pod with its ServiceAccount. Nothing in the control plane depends on it: the
stock images do the same work, with the same objects, Events and finalizers.
"""
