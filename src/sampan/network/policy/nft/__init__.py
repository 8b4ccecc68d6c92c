"""The back end that enforces policies by nftables."""
