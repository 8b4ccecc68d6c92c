"""Static pods: what a node runs from a folder of manifests, whatever the API server says, and the mirror pods by which
the API server shows it. ``manifests`` and ``plan`` decide, ``folder`` reads, ``keeper`` acts."""
