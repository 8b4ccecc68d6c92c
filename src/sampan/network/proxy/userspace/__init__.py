"""The teaching back end: Services as kube-proxy first did them, by programs that carry every byte.

Rules lead a Service's addresses to a port of this process, where a ``relay`` chooses the endpoint. Slower than rules
alone, and endpoints see the node instead of their client; but all of it can be read, stopped and looked at.
"""
