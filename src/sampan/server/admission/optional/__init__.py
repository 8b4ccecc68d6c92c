"""The plugins that upstream has and does not switch on by itself; each does its work only where it is asked for."""
