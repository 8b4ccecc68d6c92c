"""Admission: named steps that complete and refuse writes. ``chain`` puts them in upstream's order."""
