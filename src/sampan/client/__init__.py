"""Client, informers, work queues, leader election: speaks HTTP to any Kubernetes, or calls a server in this process.

Components (controllers, scheduler, node, network) know the cluster only through this package and ``sampan.api``.
"""
