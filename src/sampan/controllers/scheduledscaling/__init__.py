"""ScheduledScaler (autoscaling.sampan.io): replicas by the clock, where its definition is installed."""
