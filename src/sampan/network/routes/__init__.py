"""Routes between the nodes of a cluster: which range of pods is behind which node.

``plan`` decides (pure), ``follow`` keeps what is known of the nodes, ``ip`` is the kernel's table, ``loop`` puts it
together. Run in the node process by ``sampan.cluster``; what it laid it knows by its protocol number and takes away.
"""
