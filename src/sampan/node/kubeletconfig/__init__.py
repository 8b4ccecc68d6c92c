"""The kubelet's configuration file (``kubelet.config.k8s.io/v1beta1``), and what the node makes of it."""
