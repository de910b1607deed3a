#!/bin/bash
# clips and latents, then motion, judge, WorldCLIP and SAM 2; each stage leaves a line in $LOG
cd "$(dirname "$0")"
run() { echo "$(($(date +%s) - T0)) begin $1" >>$LOG; python3 on.py $1 >>$W/$1.log 2>&1; echo "$(($(date +%s) - T0)) end $1 rc $?" >>$LOG; }
mkdir -p $OUTDIR; cp -r $FORMER/world $OUTDIR/
CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 run render
(run sam2) & A=$!
(run clip) & B=$!
run encode
best=learned; top=0
for v in learned frozen unpushed; do
  rm -rf /tmp/try; mkdir -p /tmp/try; cp -r $FORMER/world /tmp/try/
  echo "$(($(date +%s) - T0)) try $v" >>$LOG
  python3 -c "import json,time; e=json.load(open('$ENDS')); e['motion']=time.time()+85; json.dump(e,open('/tmp/w/try.json','w'))"
  VARIANT=$v OUTDIR=/tmp/try ENDS=/tmp/w/try.json python3 on.py motion >>$W/try_$v.log 2>&1
  s=$(cat /tmp/try/score); echo "$(($(date +%s) - T0)) tried $v $s" >>$LOG
  if python3 -c "import sys; sys.exit(not $s > $top)"; then best=$v; top=$s; fi
done
export VARIANT=$best; echo "$(($(date +%s) - T0)) chosen $best $top" >>$LOG
run motion
run judge
wait $A $B
touch $W/ALL
