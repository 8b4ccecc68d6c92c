"""The one client of webhooks: where they are (``targets``), whom to believe (``trust``), asking them (``client``).

Who asks (admission, conversion) knows its own bodies; nothing here does.
"""
