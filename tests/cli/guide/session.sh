# What stands in front of the commands of a guide.
set -m -o pipefail
cd /root/longlink
mkdir /tmp/said
servers=()

fails() {
    echo "$place: $statement" >&2
    echo "$1" >&2
    head -c 4000 "/tmp/said/$number.out" "/tmp/said/$number.err" >&2
    exit 1
}

# Waits until what was started says this.
until_it_says() {
    local tries=0
    until grep -qsF "$1" "/tmp/said/$number.out"; do
        kill -0 "$!" 2>/tmp/said/kill || fails 'It has ended.'
        tries=$((tries + 1))
        [ $tries -lt 500 ] || fails "It has not said \"$1\" in 10 s."
        sleep 0.02
    done
}

# Ends the servers that were started, as a reader does before the next one is started at the same port.
stop() {
    local server
    for server in "${servers[@]}"; do
        kill -- "-$server" 2>/tmp/said/kill
        wait "$server" 2>/tmp/said/kill
        # A server that a shell has started in turn may end later than the shell.
        while kill -0 -- "-$server" 2>/tmp/said/kill; do sleep 0.02; done
    done
    servers=()
}

# Whether a command has written what the guide shows behind it.
shows() {
    local text
    for text in "$@"; do
        grep -qF -e "$text" "/tmp/said/$number.out" || fails "The guide shows an output with: $text"
    done
}

# Starts a server in place of the one that ran before.
serve() {
    stop
    longlink "$@" >"/tmp/said/$number.out" 2>"/tmp/said/$number.err" &
    servers+=($!)
    until_it_says 'listening on'
}

redis() {
    redis-server --daemonize yes --dir /tmp --maxmemory-policy noeviction >/tmp/said/redis
    until redis-cli ping >/tmp/said/ping 2>&1; do sleep 0.02; done
}

# A certificate for chat.example.com, as an authority gives it, and curl's trust in this authority.
certificate() {
    local folder=/etc/letsencrypt/live/chat.example.com
    (
        cd "$folder" || exit
        new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$@"; }
        new /CN=authority -x509 -days 90 -keyout /tmp/root.key -out /tmp/root.pem
        new /CN=chat.example.com -keyout privkey.pem -out /tmp/name.csr
        echo subjectAltName=DNS:chat.example.com >/tmp/name.ext
        openssl x509 -req -days 60 -in /tmp/name.csr -CA /tmp/root.pem -CAkey /tmp/root.key -extfile /tmp/name.ext -out cert.pem
        cat cert.pem /tmp/root.pem >fullchain.pem
    ) >/tmp/said/openssl 2>&1 || fails 'There is no certificate.'
    export CURL_CA_BUNDLE=/tmp/root.pem
}

# A user who is online, with these keys in the URL.
online() {
    curl -sN -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
        -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' -D /tmp/said/online "http://127.0.0.1:8080/websocket/$1" \
        >/tmp/said/frames &
    user=$!
    until grep -qs 101 /tmp/said/online; do sleep 0.02; done
    rm /tmp/said/online
}
