#!/bin/sh
# The first process of the container: starts the service, hands SIGTERM on to it, and ends with its exit code.
# Python itself would take a moment until it handles a signal, and before that a first process is ended by none.
service='' told=''
trap 'told=yes; [ -z "$service" ] || kill "$service"' TERM INT
python -m helpers.tools.container "$@" &
service=$!
[ -z "$told" ] || kill "$service"
wait "$service"
code=$?
while kill -0 "$service" 2>/dev/null; do # a signal ended the waiting, not the service
    wait "$service"
    code=$?
done
exit "$code"
