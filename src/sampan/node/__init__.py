"""The node agent (kubelet): pod workers, runtimes, volumes, probes, node API."""
