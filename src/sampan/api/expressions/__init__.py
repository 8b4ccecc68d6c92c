"""CEL as Kubernetes has it: the environment of its expressions (``environment``), types of its schemas (``schemas``,
``builtin``), and the functions that know its names and quantities. The language itself is ``sampan.cel``.
"""
