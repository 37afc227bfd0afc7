#!/bin/bash
# quietly.sh LOG COMMAND...: runs a command whose output goes to a file; shows its end on failure.
log=$1
shift
"$@" >>"$log" 2>&1 || {
    tail -30 "$log" >&2
    exit 1
}
