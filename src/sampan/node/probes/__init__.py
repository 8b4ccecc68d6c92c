"""Probes of containers: what one check does (check), and the tasks that repeat it (pod_probes)."""
