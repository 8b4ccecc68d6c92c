"""The parts of ``bench/api.py``: servers under test, load generators in processes of their own, bare peers, rows.

Nothing in here runs in the server's process except ``serve``; every generator counts its own CPU, apart from the
server's.
"""
