"""What a node does for LoadBalancers without a cloud: it answers for the addresses that it announces (ARP, NDP), and
tells which ports its own programs listen on, so that no Service takes them away.

``packets`` and ``routes`` are pure; ``link`` is the node's network, ``announcer`` and ``hostports`` are kept.
"""
