"""The volumes of pods: one module a volume type, the manager that sets them up and takes them down."""
