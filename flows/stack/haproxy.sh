#!/bin/sh
# HAProxy on loopback only. Ray Serve binds the pages with HAProxy's metrics and statistics to every interface and has
# no setting for their address, but it has one for the program: RAY_SERVE_HAPROXY_BINARY_PATH names this file.
# HEADRACE_HAPROXY names the program itself. Serve calls it with `-db -f CONFIGURATION`, then other options.
set -eu
[ "$2" = -f ] || { echo "haproxy.sh expects the options '-db -f CONFIGURATION', not '$*'." >&2; exit 2; }
sed -i -E 's/^( *bind )\*?:/\1127.0.0.1:/' "$3"
exec "$HEADRACE_HAPROXY" "$@"
