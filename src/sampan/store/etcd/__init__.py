"""The store of a cluster that outgrows one machine: etcd, API v3, real servers (docs/etcd.md).

``store`` is what the rest of Sampan uses. Imported late: few clusters have it.
"""
