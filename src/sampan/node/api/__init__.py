"""The node API: what the API server, metrics collectors and probes ask a node (the kubelet's port 10250)."""
