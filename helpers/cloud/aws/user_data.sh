#!/bin/bash
# Turns a fresh Amazon Linux 2023 or Ubuntu machine into the endpoint: packages, a user without rights, the project at
# one git revision, its environment, the model, the service. EC2 runs it once, as root, when the instance first starts;
# running it again does no harm. What it prints goes to the instance's console and /var/log/cloud-init-output.log.
# No secret belongs in here: whoever may describe the instance can read it. Keys and tokens are made on the machine.
set -Eeuo pipefail

# ---- settings: helpers.cloud.ec2.user_data() writes them here ----
: "${REPOSITORY:?the git URL to install from}"
: "${REVISION:?the commit, tag or branch to install}"
MODEL_URL=${MODEL_URL:-}        # a .tar.gz of a model directory; empty: train and export the tutorial's own
MODEL_SHA256=${MODEL_SHA256:-}  # its checksum, compared before anything of it is used
EPOCHS=${EPOCHS:-100}           # of that training
API_KEY=${API_KEY:-no}          # yes: make a key, which /predict then asks for
JUPYTER=${JUPYTER:-tunnel}      # tunnel: JupyterLab on 127.0.0.1; open: on every address, with TLS; no: none
PORT=${PORT:-5000}
SERVICE_USER=${SERVICE_USER:-tutorial}
APP=${APP:-/opt/keras-flask-tutorial}
STATE=${STATE:-/var/lib/keras-flask-tutorial}
UNITS=${UNITS:-/etc/systemd/system}
VENV=${VENV:-}                  # an environment that is there already; empty: build one

step() {
    echo "user-data: $*"
}

as_service() {
    if [ "$(id -un)" = "$SERVICE_USER" ]; then
        env HOME="$STATE" "$@"
    else
        runuser -u "$SERVICE_USER" -- env HOME="$STATE" "$@"
    fi
}

install_packages() {
    if [ -n "$VENV" ]; then
        return
    fi
    step "packages"
    if command -v dnf >/dev/null; then
        dnf install -y -q git openssl python3.11 python3.11-pip
        PYTHON=python3.11
    else
        export DEBIAN_FRONTEND=noninteractive
        apt-get -o DPkg::Lock::Timeout=300 update -q
        apt-get -o DPkg::Lock::Timeout=300 install -y -q curl git openssl python3 python3-venv
        PYTHON=python3
    fi
}

add_user() {
    step "user $SERVICE_USER"
    if ! id "$SERVICE_USER" >/dev/null 2>&1; then
        useradd --system --home-dir "$STATE" --shell /usr/sbin/nologin "$SERVICE_USER"
    fi
    mkdir -p "$APP" "$STATE" "$UNITS"
    chmod 750 "$STATE"
    chown "$SERVICE_USER" "$APP" "$STATE"
}

check_out() {
    step "the project at $REVISION"
    as_service git init -q "$APP"
    as_service git -C "$APP" fetch -q --depth 1 "$REPOSITORY" "$REVISION"
    as_service git -C "$APP" checkout -q --force --detach FETCH_HEAD
}

build_environment() {
    step "environment"
    if [ -n "$VENV" ]; then
        as_service ln -sfn "$VENV" "$APP/.venv"
    else
        as_service "$PYTHON" "$APP/tutorial.py" setup >/dev/null
        rm -rf "$STATE/.cache" # 1 GB of downloads that nobody needs again
    fi
}

provide_model() {
    if [ -e "$APP/models/games/card.json" ]; then
        return
    fi
    step "model"
    if [ -z "$MODEL_URL" ]; then
        local train="from helpers.export.pipeline import train_and_export; train_and_export('models/games', epochs=$EPOCHS)"
        (cd "$APP" && as_service .venv/bin/python -c "$train")
        return
    fi
    local archive=$STATE/model.tar.gz part=$APP/models/games.part
    as_service curl -fsSL --retry 5 --max-time 300 -o "$archive" "$MODEL_URL"
    echo "$MODEL_SHA256  $archive" | as_service sha256sum --check --quiet -
    as_service rm -rf "$part" # of a run that was interrupted
    as_service mkdir -p "$part"
    as_service tar -xzf "$archive" -C "$part" --no-same-owner
    if [ ! -e "$part/card.json" ]; then
        step "failed: $MODEL_URL holds no card.json at its top: pack it by tar -czf model.tar.gz -C models/NAME ."
        exit 1
    fi
    as_service mv -T "$part" "$APP/models/games" # whole, or not at all
    rm -f "$archive"
}

make_secrets() {
    umask 077
    if [ "$API_KEY" = yes ]; then
        [ -s "$STATE/api-key" ] || openssl rand -hex 32 | as_service tee "$STATE/api-key" >/dev/null
        echo "SERVICE_OPTIONS=\"--api-key-file $STATE/api-key\"" | as_service tee "$STATE/service.env" >/dev/null
    fi
    if [ "$JUPYTER" = open ]; then
        # Signed by itself: the browser warns once, and one compares the fingerprint that is printed here.
        [ -s "$STATE/jupyter.pem" ] || as_service openssl req -x509 -newkey rsa:2048 -nodes -days 365 -batch \
            -subj /CN=keras-flask-tutorial -keyout "$STATE/jupyter.key" -out "$STATE/jupyter.pem" 2>/dev/null
        printf '%s\n' JUPYTER_HOST=0.0.0.0 "JUPYTER_CERTIFICATE=$STATE/jupyter.pem" "JUPYTER_KEY=$STATE/jupyter.key" |
            as_service tee "$STATE/jupyter.env" >/dev/null
        step "JupyterLab's certificate: $(openssl x509 -noout -fingerprint -sha256 -in "$STATE/jupyter.pem")"
    fi
    umask 022
}

start_unit() {
    step "start $1"
    sed -e "s|/opt/keras-flask-tutorial|$APP|g" -e "s|/var/lib/keras-flask-tutorial|$STATE|g" \
        -e "s|^User=.*|User=$SERVICE_USER|" -e "s|--port 5000|--port $PORT|" "$APP/helpers/cloud/aws/$1" >"$UNITS/$1"
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        systemctl enable --quiet "$1"
        systemctl restart "$1"
    else
        start_without_systemd "$1"
    fi
}

start_without_systemd() { # a container, for example: the unit's own command, in the background
    local command pid_file=$STATE/$1.pid
    command=$(sed -n 's/^ExecStart=//p' "$UNITS/$1")
    if [ -e "$pid_file" ] && kill "$(cat "$pid_file")" 2>/dev/null; then
        while kill -0 "$(cat "$pid_file")" 2>/dev/null; do sleep 0.1; done
    fi
    # shellcheck disable=SC2016  # the inner shell is to expand: it reads the files and the command as systemd does
    local shell='echo $$ >"$1"; set -a; for file in "$HOME"/*.env; do [ -e "$file" ] && . "$file"; done; eval "exec $2"'
    (cd "$APP" && JUPYTER_STATE=$STATE as_service setsid sh -c "$shell" sh "$pid_file" "$command") \
        >>"$STATE/$1.log" 2>&1 </dev/null &
}

wait_for_service() {
    if curl -fsS -o /dev/null --retry 60 --retry-delay 1 --retry-all-errors --max-time 5 \
        "http://127.0.0.1:$PORT/health/ready" 2>/dev/null; then
        step "ready: the service answers on port $PORT"
    else
        step "failed: the service does not answer on port $PORT; see journalctl -u keras-flask-tutorial"
        exit 1
    fi
}

trap 'step "failed in line $LINENO; to try again: sudo bash /var/lib/cloud/instance/scripts/part-001"' ERR
install_packages
add_user
check_out
build_environment
provide_model
make_secrets
start_unit keras-flask-tutorial.service
if [ "$JUPYTER" != no ]; then
    start_unit keras-flask-jupyter.service
fi
wait_for_service
