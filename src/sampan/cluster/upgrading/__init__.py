"""``sampan upgrade``: from the version that a cluster runs to the one that is installed, machine by machine."""
