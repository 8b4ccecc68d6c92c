"""One module a pair of versions: ``default_KIND`` fills a former version's own defaults; ``to_KIND`` gives the stored
version of an object of the former one, ``from_KIND`` the former one of a stored object.

They may change what they are given and return it; ``kind`` and ``apiVersion`` are the caller's to set. Any part may be
missing: they see what one field manager owns, too. What a former version cannot say travels in an annotation.
"""
