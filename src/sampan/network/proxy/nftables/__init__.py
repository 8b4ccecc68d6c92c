"""The nftables back end: ``render`` and ``base`` make chains and map elements of plans, ``claims`` knows who asks for
which, ``table`` compares two states, ``nft`` speaks the language, ``reach`` sees to switches and routes, ``backend``
puts it together. All but the last three is pure. IPv4 only.
"""
