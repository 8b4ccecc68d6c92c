"""A revisioned key-value store with watch (``memory``, ``sqlite``, later ``etcd``) and the watch cache on top.

Knows nothing of kinds or HTTP. ``protocol`` holds the contract; one test suite holds every implementation to it.
"""
