"""The cloud-controller-manager: what a cluster asks of the cloud whose machines its nodes are (docs/cloud.md).

``provider`` is the seam: ``local`` (a file) and ``remote`` (any program over HTTP) implement it. ``nodes``,
``lifecycle``, ``routes`` and ``services`` are the four controllers, ``manager`` keeps them running.
"""
