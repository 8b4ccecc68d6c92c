"""Control groups of pods: the QoS tree below the node's root, what stands in it, and how it goes away again.

settings.py   what stands in which file: shares, quotas, limits, for version 1 and 2 (pure)
tree.py       the hierarchies of the machine: make, write, remove, list
manager.py    what pod workers and the agent call; nothing of it runs on the event loop
"""
