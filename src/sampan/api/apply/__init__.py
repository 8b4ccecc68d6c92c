"""Who owns which field of an object: managed fields and server-side apply (KEP-555), as pure functions.

``sets`` is the algebra of field sets in their own JSON form; ``shapes`` says how apply sees a kind's structure; along
them ``comparing``, ``extraction``, ``merging``, ``removing`` and ``checking`` walk objects. ``managers`` are the
entries of ``metadata.managedFields``; ``updating`` and ``applying`` are what a write does to them. The order of the
steps is upstream's (apimachinery ``managedfields``, structured-merge-diff ``merge``); the server calls them from
``server/rest``. Nothing here knows a clock or asks anybody: moments and versions of objects are arguments.
"""
