"""The scheduler's configuration as a file: KubeSchedulerConfiguration, and the Policy that came before it."""
