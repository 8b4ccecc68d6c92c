"""Validation that several kinds share; what belongs to one kind alone stands in that kind's module.

Every function takes a value and its field path and returns the faults it found. Structure and types were checked by
the schema before. Rules and wording: kubernetes ``pkg/apis/core/validation`` and its neighbours, v1.37.
"""
