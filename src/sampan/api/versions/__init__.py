"""Versions of the API that Kubernetes served once, or deprecates: their lifecycles, kinds and conversions.

A former version is a ``Kind`` like any other: it has a structure (``sampan.api.schema.former``), defaults, and two pure
conversions to and from the version that is stored, a module a pair in ``convert``. What differs in nothing but its name
has no conversion. Modules of conversions are imported when somebody uses the version, not before.
"""
