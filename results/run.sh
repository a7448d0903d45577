#!/bin/sh
# Run the benchmark with the embedded model: sh results/run.sh FOLDER. Finished runs are skipped, so it can be stopped and started again.
set -eu
out=${1:?"name the folder for the runs: sh results/run.sh FOLDER"}
run() { nice vlprompt run "$@" --backbone embedded --seeds 1,2,3 --workers 2 --set runtime.threads=1 --quiet; }
prompts=zero-shot,coop,cocoop,kgcoop,prograd,vpt,ivlp,maple,promptsrc,dapt,mudpt,e2mim,clip-lora
all=$prompts,linear-probe,tip-adapter,tip-adapter-f
source=pictobench-animals
three=$source,pictobench-objects,pictobench-people

unified() { run "$@" --recipe unified --epochs 5 --batch-size 4 --lr 0.005 --out "$out/unified"; }
unified base-to-new --methods $prompts --datasets $three
unified base-to-new --datasets $three --methods \
    "dapt[beta_text=0],dapt[beta_visual=0],mudpt[fusion=linear],mudpt[direction=text-to-visual],e2mim[lambda_mi=0],e2mim[lambda_aug=0],e2mim[r=0]"
unified few-shot --methods $all --datasets $source --shots 1,4,16
unified cross-dataset --methods $prompts --datasets $source --targets pictobench
unified domain-generalization --methods $all --datasets $source

paper() { run "$@" --set data.views=16 --out "$out/paper"; } # as many as the unified recipe has
paper base-to-new --methods zero-shot,coop,dapt,mudpt,e2mim --datasets $source # others are cut
paper few-shot --methods zero-shot,coop,dapt --datasets $source --shots 1,4,16 # DAPT's paper tests few-shot alone
