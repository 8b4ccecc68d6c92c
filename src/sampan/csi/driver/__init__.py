"""A CSI driver of our own, ``loopfile.csi.sampan.io``: a volume is a sparse file of a node's disk, on a loop device.

For tests and small clusters. It runs as an ordinary pod on each node, and nothing in the cluster knows it by name. A
volume has the size that was asked for, grows while it is used, and can be snapshot and cloned; it stays on its node.
Knows nothing of Kubernetes objects.
"""

NAME = "loopfile.csi.sampan.io"
#: the segment of its topology
NODE_KEY = "topology.loopfile.csi.sampan.io/node"
