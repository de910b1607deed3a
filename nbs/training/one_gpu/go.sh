#!/bin/bash
# one run from pictures to a pipeline; each stage leaves a line in $LOG
cd "$(dirname "$0")"
run() { echo "$(($(date +%s) - T0)) begin $1" >>$LOG; python3 fit.py $1 >>$W/$1.log 2>&1; echo "$(($(date +%s) - T0)) end $1 rc $?" >>$LOG; }
CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 run render &
R=$!
run warm
run smoke
while [ ! -e $DATA/clips-$NEED.safetensors ]; do sleep 1; done; sleep 6
run vae
wait $R
run encode
run judge &
J=$!
run image
wait $J
run motion
touch $W/ALL
