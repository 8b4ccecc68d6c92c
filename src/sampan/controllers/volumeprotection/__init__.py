"""Claims and volumes that are deleted stay until nobody uses them (upstream ``pvprotection``, ``pvcprotection``)."""
