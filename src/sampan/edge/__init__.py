"""The edge of the cluster: Ingress and Gateway API on one data plane, a proxy program of the machine's."""
