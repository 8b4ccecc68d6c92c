"""How Go prints what controllers' Events and conditions quote. Pure."""

from __future__ import annotations

from sampan.api.reading import parts, text, text_map, texts
from sampan.api.types import Obj


def selector_words(selector: Obj | None) -> str:
    """A LabelSelector as Go prints a pointer to one."""
    if selector is None:
        return "nil"
    pairs = sorted(text_map(selector, "matchLabels").items())
    expressions = "".join(map(_requirement, parts(selector, "matchExpressions")))
    matched = "".join(f"{key}: {value}," for key, value in pairs)
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{matched}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )


def _requirement(expression: Obj) -> str:
    values = " ".join(texts(expression, "values"))
    key, operator = text(expression, "key"), text(expression, "operator")
    return f"LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},"
