"""Claims that ask for more (upstream ``pkg/controller/volume/expand``)."""
