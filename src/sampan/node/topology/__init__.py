"""The topology manager: what a container gets of processors, memory and devices lies close together.

``hints`` merges what providers can give, ``policies`` says what is good enough, ``aligning`` asks and gives."""
