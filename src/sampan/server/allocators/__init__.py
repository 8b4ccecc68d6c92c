"""Addresses and ports of Services: unique in the cluster, persisted by the Services themselves."""
