"""An API server behind the cluster's own that answers for custom and external metrics out of a Prometheus server."""
