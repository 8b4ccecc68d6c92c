"""How a node keeps itself alive when something gets short: pure planning (``pressure``, ``ranking``,
``limits``, ``words``), measuring (``meter``, ``meter_linux``) and the loop that acts (``manager``)."""
