"""``sampan api report``: which manifests or objects use what a release removed or deprecates, and what to use instead.

``sources`` splits files into documents, ``findings`` judges them (both pure), ``rewriting`` writes them anew,
``cluster`` reads the objects of a cluster, ``rendering`` shows what was found.
"""
