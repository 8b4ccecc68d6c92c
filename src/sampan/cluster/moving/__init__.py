"""Taking a cluster along: backups, restores, and moves from one kind of store to another."""
