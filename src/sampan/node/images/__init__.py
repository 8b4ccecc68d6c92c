"""Container images on the node: building small ones locally, pulling, collecting unused ones."""
