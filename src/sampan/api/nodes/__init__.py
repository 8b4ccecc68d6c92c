"""What a node means: its taints, conditions and place, and which pods it may run. The one home of these answers.

Pure functions on the object, which never raise: what is not of its type in a damaged object counts as absent.

    taints.py     well-known taints; those of one effect
    affinity.py   node selectors and node affinity
    status.py     conditions, zone and region
"""
