"""What PersistentVolumes, claims and storage classes mean: shared by controllers, scheduler and node. Pure."""
