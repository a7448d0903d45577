#!/bin/sh
# Run the benchmark on the embedded data: sh results/run.sh FOLDER. Finished runs are skipped, so it can be stopped and started again.
set -eu
out=${1:?"name the folder for the runs: sh results/run.sh FOLDER"}
run() { nice vlprompt run "$@" --backbone embedded --seeds 1,2,3 --workers 2 --set runtime.threads=1 --quiet; }
prompts=zero-shot,coop,cocoop,kgcoop,prograd,vpt,ivlp,maple,promptsrc,dapt,mudpt,e2mim,clip-lora
all=$prompts,linear-probe,tip-adapter,tip-adapter-f
both=openmoji,fontawesome

unified() { run "$@" --recipe unified --out "$out/unified"; }
unified base-to-new --methods $prompts --datasets $both
unified few-shot --methods $all --datasets openmoji --shots 1,4,16
unified cross-dataset --methods $prompts --datasets openmoji --targets fontawesome
unified domain-generalization --methods $all --datasets openmoji
unified base-to-new --datasets $both --methods "dapt[beta_text=0],dapt[beta_visual=0],dapt[beta_text=0,beta_visual=0]"
unified base-to-new --datasets $both --methods \
    "mudpt[fusion=linear],mudpt[direction=text-to-visual],mudpt[fusion=linear,direction=text-to-visual]"
unified base-to-new --datasets $both --methods "e2mim[lambda_mi=0],e2mim[lambda_aug=0],e2mim[lambda_mi=0,lambda_aug=0]"
unified base-to-new --datasets $both --methods "e2mim[estimator=jsd],e2mim[estimator=dv],e2mim[critic=bilinear],e2mim[critic=mlp]"
unified base-to-new --datasets $both --methods "e2mim[r=0]"

paper() { run "$@" --out "$out/paper"; }
paper base-to-new --methods $prompts --datasets $both
paper few-shot --methods $all --datasets openmoji --shots 1,4,16
