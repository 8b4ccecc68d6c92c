"""HorizontalPodAutoscaler: how many replicas a target needs, by what is measured of its pods or of anything else."""
