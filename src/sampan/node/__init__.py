"""The node agent (kubelet): runs the pods bound to its node and tells the API server how they are.

    agent          watches pods, keeps one worker for each, follows the runtime's events
    registration   the Node object and its Lease
    pods/          planner (pure), status (pure), worker (acts), starting, termination, sender
    probes/        startup, readiness, liveness
    images/        building, pulling, credentials, collection
    runtime        the seam to what runs containers: cri/ (containerd) and simulated (in memory)
    cgroups        pod cgroups, v1 and v2
    volumes/, env/, logs/, api/   what containers see, write, and what others ask the node
    main           the composition, ``run_node``

Knows the control plane through ``sampan.client`` only.
"""
