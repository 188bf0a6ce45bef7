#!/bin/sh
# One night of one model, for schedulers that run a command: `nightly.sh MODEL KEY`.
#
# KEY is the scheduler's own name of this night; started again under it, after a crash or on another machine that shares
# the stores, what is done is not done again. Ends with 0 when there is nothing left to do (nothing was found, or a
# candidate passed), 1 when the candidate was refused, 4 when its gates had too little evidence; all else is broken.
set -u

flyball monitor "$1" --wait --key "$2"
found=$?
case $found in
  1) ;;  # a check alarms: a candidate is trained
  4) echo "nightly: too few rows to say anything of $1 yet"; exit 0 ;;
  *) exit $found ;;
esac
exec flyball retrain "$1" --wait --key "$2" --timeout 6h --why "a check alarmed in $2"
