"""Claims for devices: made for pods of their templates, taken back when nobody uses them (KEP-4381)."""
