"""Custom resources, served: follows CustomResourceDefinitions and makes the surface of what they declare.

``controller`` is the component; what it decides by is pure and in ``sampan.api.customresources``.
"""
