"""The ResourceQuota plugin: charges every write to the quotas of its namespace before it is stored.

``ledger`` charges and remembers what is under way, ``plugin`` asks it, ``recount`` lets the controller put its count in
place without losing what is under way.
"""
