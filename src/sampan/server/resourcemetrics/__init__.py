"""``metrics.k8s.io``: what nodes and pods use, asked of the node agents and served without a pod of its own."""
