"""VolumeSnapshots and their contents (the snapshot-controller of kubernetes-csi/external-snapshotter).

Takes no snapshot itself: it makes a content for each, which the driver's own snapshotter works on, and binds the two.
"""
