"""The REST verbs of stored resources, generic over ``Kind``: one module a verb or subresource.

``router`` picks the module, ``context`` holds what all of them need. Nothing here knows sockets or credentials.
"""
