"""API servers behind this one: group versions that an APIService sends to a Service (kube-aggregator)."""
