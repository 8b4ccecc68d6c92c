"""What expressions of the API may cost (apiserver ``apis/cel``)."""

from typing import Final

#: Of one expression, estimated and evaluated.
PER_CALL: Final = 1_000_000
#: Of all rules of one custom resource, all expressions of one policy or webhook, for one request.
PER_REQUEST: Final = 10_000_000
#: Of all match conditions of one webhook or policy, for one request.
MATCH_CONDITIONS: Final = PER_REQUEST // 4
#: Characters of a message that an expression makes; bytes of an audit annotation.
MESSAGE_CHARACTERS: Final = 5 * 1024
#: A request has at most so many bytes: what an estimate takes for a value that nothing else bounds.
REQUEST_BYTES: Final = 3 * 1024 * 1024
