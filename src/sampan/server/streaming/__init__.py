"""Connections through the API server: logs, exec, attach, port-forward and proxies, to nodes, pods and Services."""
