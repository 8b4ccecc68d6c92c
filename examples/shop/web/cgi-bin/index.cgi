#!/bin/sh
# ?buy=THING notes an order in the database; the answer is how many there are, and what was ordered last.
thing=$(printf '%s' "${QUERY_STRING:-}" | sed -n 's/^buy=\([a-z0-9-]\{1,40\}\)$/\1/p')
ask=
[ -z "$thing" ] || ask="RPUSH orders $thing\r\n"
# shellcheck disable=SC2059  # the request is put together above, of letters, digits and hyphens
answer=$(printf "AUTH $REDIS_PASSWORD\r\n${ask}LLEN orders\r\nLINDEX orders -1\r\nQUIT\r\n" | nc -w 2 db 6379)
count=$(printf '%s' "$answer" | sed -n 's/^:\([0-9]*\).*/\1/p' | sed -n '$p')
if [ -z "$count" ]; then
    printf 'Status: 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\nThe database does not answer.\n'
    exit 0
fi
last=$(printf '%s' "$answer" | sed -n '/^\$[0-9]/{n;p}' | sed 's/\r//')
printf 'Content-Type: text/plain\r\n\r\n%s orders, the last one of: %s\n' "$count" "$last"
