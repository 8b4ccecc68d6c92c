"""What a pod means: its containers, what it asks for, how it is doing. The one home of these answers.

Pure functions on the object, as upstream's ``component-helpers`` and ``api/v1/pod``; every component asks here and none
answers for itself. They never raise: what is not of its type in a damaged object counts as absent (``api/reading.py``).

    containers.py   walks over containers; sidecars; host network and ports
    status.py       phases, conditions, readiness, resize
    requests.py     requests and limits: containers, sidecars, pod level, overhead, resize in place
    qos.py          the quality-of-service class
    tolerations.py  which taints a pod tolerates
    origin.py       static and mirror pods, priority, critical pods
"""
