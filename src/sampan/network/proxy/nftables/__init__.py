"""The nftables back end: ``render`` and ``base`` make chains and map elements of plans, ``claims`` knows who asks for
which, ``table`` compares two states, ``nft`` speaks the language, ``backend`` puts it together. All but the last two is
pure. IPv4 only.
"""
