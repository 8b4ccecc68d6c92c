"""``sampan bundle``: one file that installs a node on a machine without a network (docs/offline.md).

``file`` writes and reads it, ``collecting`` gathers what goes in, ``install.sh`` is what the file does when it is run.
"""
