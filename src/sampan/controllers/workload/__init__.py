"""What the controllers that own pods share: pod facts, claiming, making pods, conditions. Pure but for ``pods``."""
