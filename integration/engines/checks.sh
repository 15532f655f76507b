# Checks: how one is run, counted and reported, and what it may assert.
#
# A check is a shell function. It runs in a subshell under `set -e`; whatever
# it prints goes to a log, from which the reason of a failure is taken.

SKIPPED=77

# check ENGINE/NAME FUNCTION [ARG...]
check() {
    local name=$1 log status
    shift
    log=$OUT/log/${name//\//.}
    mkdir -p "$OUT/log"
    set +e
    (
        set -eEuo pipefail
        shopt -s inherit_errexit
        # Also for $(...): a command in an argument fails its check too,
        # where `set -e` alone would take its empty output for an answer.
        trap 'echo "command failed ($?): $BASH_COMMAND" | tee -a "$log.errors" >&2' ERR
        "$@"
    ) >"$log" 2>&1 </dev/null
    status=$?
    set -e
    [ $status != 0 ] || [ ! -e "$log.errors" ] || status=1
    case $status in
        0) echo "ok $name" ;;
        "$SKIPPED") echo "skip $name: $(sed -n 's/^reason: //p' "$log")" ;;
        *) echo "not ok $name: $(checks_reason "$log")" ;;
    esac | tee -a "$OUT/results"
}

# What a failed assertion printed, and what a command said last before it.
checks_reason() {
    local told last
    told=$(sed -n 's/^reason: //p' "$1" | tail -n 1)
    last=$(grep -v -e '^reason: ' -e '^[[:space:]]*$' "$1" | tail -n 2 | paste -sd ' ')
    [ -z "$told" ] || [ -z "$last" ] || last=" (log ends: $last)"
    echo "$told$last" | tr -d '\r' | cut -c1-800
}

# Prints the total over all engines; fails when a check failed or none ran.
checks_total() {
    local passed failed skipped all
    all=$(cat "$WORK"/*/results 2>/dev/null || true)
    passed=$(grep -c '^ok ' <<<"$all" || true)
    failed=$(grep -c '^not ok ' <<<"$all" || true)
    skipped=$(grep -c '^skip ' <<<"$all" || true)
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

# Ends a check with a reason.
fail() {
    echo "reason: $*"
    exit 1
}

skip() {
    echo "reason: $*"
    exit $SKIPPED
}

same() {
    [ "$1" = "$2" ] || fail "got '$1', want '$2'"
}

differ() {
    [ "$1" != "$2" ] || fail "both are '$1'"
}

# has TEXT PIECE
has() {
    [[ $1 == *"$2"* ]] || fail "no '$2' in '$(paste -sd ' ' <<<"$1")'"
}

lacks() {
    [[ $1 != *"$2"* ]] || fail "unwanted '$2' in '$(paste -sd ' ' <<<"$1")'"
}

# exits CODE COMMAND...: the command's exit code; its output is left in `said`.
exits() {
    local want=$1 got=0
    shift
    said=$("$@" 2>&1) || got=$?
    [ "$got" = "$want" ] || fail "exit code $got, want $want, of: $*: $(paste -sd ' ' <<<"$said")"
}

# eventually COMMAND...: polls for at most 10 seconds.
eventually() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    fail "not within 10 s: $*"
}

# terminal SIZE STEP... -- COMMAND...: see terminal.py.
terminal() {
    python3 "$here/terminal.py" "$@"
}
