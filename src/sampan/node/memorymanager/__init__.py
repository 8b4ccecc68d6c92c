"""The memory manager's static policy: memory and huge pages of Guaranteed pods from as few NUMA nodes as may be.

``reserved`` and ``policy`` decide, ``manager`` keeps the state on disk."""
