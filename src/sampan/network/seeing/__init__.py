"""Who reaches whom, and by what: worked out from objects of the API alone. Pure.

``world`` reads the objects, ``judging`` says which policy decides a connection, ``path`` follows one through a Service
to its endpoints, ``reach`` asks for everybody. Nothing looks at a node's rules: tests hold them to the same answers.
"""
