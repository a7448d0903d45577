"""`make bench`: every benchmark, on random weights at real size. What counts is the ratios within one run."""

import platform

import torch

from benchmarks import text_tower


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("\nText tower of ViT-B/16 size, fp32, forward and backward")
    text_tower.run()


main()
