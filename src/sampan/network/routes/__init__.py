"""Ways between the nodes of a cluster: which range of pods is behind which node.

``plan`` decides (pure), ``loop`` follows the Nodes and puts it together. ``ip`` is the kernel's table of routes, and
the language of interfaces; ``overlay`` is the seam of tunnels, which ``vxlan`` and ``wireguard`` lay. Run in the node
process by ``sampan.cluster``. Routes that were laid are known by their protocol number, tunnels by their interface's
name, and both are taken away.
"""
