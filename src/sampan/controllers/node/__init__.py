"""Watches nodes: are they alive, what taints say so, which pods must leave, which pod addresses they own."""
