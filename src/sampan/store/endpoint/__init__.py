"""etcd's API v3 over a store of this process: the door for ``etcdctl`` and clients of etcd (docs/etcd-endpoint.md).

``serving`` opens it; ``keys`` and ``ranges`` read, ``transactions`` writes, ``watches``, ``leases`` and ``maintenance``
are the services of these names. Imported late: few clusters open it.
"""
