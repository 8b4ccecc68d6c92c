"""The default RBAC policy as data: the roles and bindings every cluster starts with, named as upstream names them.

Facts of rbac bootstrappolicy v1.37. ``server.bootstrap`` creates and reconciles them.
"""
