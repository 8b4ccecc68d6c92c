"""Controllers and scheduler as programs of their own, for any API server: ``sampan controller-manager``, ``scheduler``.

``program`` is what both are: a client, an election, health and metrics; ``manager`` and ``scheduler`` what each does
while it leads. Options have upstream's names and defaults where upstream has them.
"""
