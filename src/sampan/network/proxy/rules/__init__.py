"""Back ends that are rules of the kernel's: who wants what of them, and the way from one state to another.

``values`` are transactions, ``table`` and ``claims`` find the least of them, ``backend`` has them applied. How rules
are written is ``nftables`` and ``iptables``.
"""
