#!/bin/sh
# Counts a visit in Redis and fills in the page, which comes from a ConfigMap.
count=$(printf 'AUTH %s\r\nINCR visits\r\nQUIT\r\n' "$REDIS_PASSWORD" | nc -w 2 redis 6379 | sed -n 's/^:\([0-9]*\).*/\1/p')
if [ -z "$count" ]; then
    printf 'Status: 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\nRedis does not answer.\n'
    exit 0
fi
printf 'Content-Type: text/html\r\n\r\n'
sed -e "s/@COUNT@/$count/" -e "s/@POD@/$HOSTNAME/" /etc/guestbook/page.html
