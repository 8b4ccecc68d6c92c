"""Connects Services to pods: EndpointSlices, the older Endpoints, and mirrors of hand-made Endpoints."""
