"""``sampan why``: the cause of what an object does or does not do, what shows it, and the smallest mending change.

``engine.explain`` is pure: a function of what is asked about (``model.Ref``) and of a ``world.World``, the answers to
questions about objects that were asked so far. Where a rule needs an answer that is not there it says so, and whoever
called asks the cluster (``reader``) or a dump (``dump``) and calls again: so nothing is read that no rule asks for.
Every cause is a rule of its own (``rules/``, one module a subject). ``access`` says who may do what.
"""
