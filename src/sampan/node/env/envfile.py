"""The file format of ``fileKeyRef`` (KEP-3721): lines ``NAME=value``, the value bare or in quotes. Pure."""

from __future__ import annotations

#: upstream reads no larger file
MAX_BYTES = 64 * 1024


def parse_env_file(text: str) -> dict[str, str]:
    """Later lines win. Raises ValueError naming the line."""
    variables: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name:
            raise ValueError(f"line {number}: expected NAME=value")
        if value[:1] in ("'", '"'):
            if len(value) < 2 or value[-1] != value[0]:
                raise ValueError(f"line {number}: unterminated quote")
            value = value[1:-1]
        variables[name] = value
    return variables
