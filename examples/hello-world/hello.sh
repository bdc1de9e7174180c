#!/usr/bin/env bash
# Answers each HTTP request with "hello from NAME". Needs bash and netcat (Debian: netcat-openbsd).
body="hello from ${TENEMENT_INSTANCE:-nobody}"
port=${PORT:?is not set}
pipe=${DATA_DIR:-.}/request

# answer reads the head of a request and writes the response. Without a whole head it says nothing.
answer() {
    local line=
    until [[ $line == $'\r' ]]; do
        IFS= read -r line || return
    done
    printf '%s\r\n' 'HTTP/1.1 200 OK' 'Content-Type: text/plain' "Content-Length: $((${#body} + 1))" 'Connection: close' ''
    printf '%s\n' "$body"
    # That was all: the client is told so, and what it may still be sending is read, so that it gets to see the answer.
    exec cat >/dev/null
}

mkdir -p "${pipe%/*}" && rm -f "$pipe" && mkfifo "$pipe" || exit
trap 'kill $(jobs -p) $! 2>/dev/null; wait; exit 0' TERM INT

# One netcat per connection: request -> nc -> pipe -> answer -> nc -> client. -w drops a client that is silent for 2 s.
# In the background, because bash runs a trap only while it waits.
while true; do
    answer <"$pipe" | nc -N -w 2 -l 127.0.0.1 "$port" >"$pipe" &
    wait %% || exit # nc could not listen
done
