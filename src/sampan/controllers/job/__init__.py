"""Runs the pods of Jobs until enough have succeeded, and counts each exactly once."""
