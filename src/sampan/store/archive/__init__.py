"""Backups of a store: one file with every entry, history where wanted, files beside them, and hashes of all of it.

``format`` writes and reads the file, ``sources`` reads a SQLite store that may be in use or any store that is open,
``building`` makes a new SQLite store of records. Synchronous, for threads and commands; nothing here runs in a server.
"""
