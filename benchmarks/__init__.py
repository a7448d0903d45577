"""Speed and memory, measured on the machine at hand: `make bench`. Results are in docs/performance.md."""
