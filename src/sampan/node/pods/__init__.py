"""Pods on the node: what to do for one (planner), what it is (status), and the task that does it (worker)."""
