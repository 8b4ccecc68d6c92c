"""The CPU manager's static policy: whole processors for containers of Guaranteed pods that ask for whole ones.

``allocator`` and ``policy`` decide, ``manager`` keeps the state on disk and tells the runtime."""
