"""Ingress objects, as a source of the edge's model."""
