"""The Pod Security Standards: what a pod may not ask for at each level, in each version of the rules (KEP-2579).

``policies`` reads a namespace's labels, ``standards`` judges a pod, ``templates`` finds the pod in a workload. Pure.
"""
