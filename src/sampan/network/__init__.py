"""Service proxy, cluster DNS, pod network configuration."""
