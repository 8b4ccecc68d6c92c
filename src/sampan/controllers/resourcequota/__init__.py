"""The ResourceQuota controller: what of each quota is used."""
