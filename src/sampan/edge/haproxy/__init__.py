"""HAProxy as the data plane of the edge. Only this package knows its configuration and its socket."""
