"""One module a subject; ``sampan.why.table`` has their order."""
