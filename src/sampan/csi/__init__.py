"""The Container Storage Interface: its messages, and a client and a server of its three services.

Used by the node agent (staging and publishing), by controllers (provisioning, attaching, resizing, snapshots) and by
drivers written here. Knows nothing of Kubernetes objects.
"""
