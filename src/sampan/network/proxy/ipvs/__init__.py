"""The back end for kernels with IPVS: virtual servers balance, a table of nftables does what they cannot.

``plan`` says which servers there have to be and the way from one state to another, ``render`` what rules remain,
``program`` speaks to ``ipvsadm`` and ``ip``. Where the kernel has no IPVS the mode is refused before anything starts
(``modes``).
"""
