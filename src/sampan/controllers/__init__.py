"""One module a controller; none imports another. ``manager`` runs them."""
