"""Training steps as CUDA graphs, since launching the kernels of a small model one by one takes longer than they run."""

from collections.abc import Callable

import torch
from torch import Tensor

Batch = dict[str, Tensor]
Step = Callable[[Batch], Batch]


class Graphs:
    """Recordings of a training step on a GPU, one for each combination of input shapes.

    The step must update the same tensors in place at each call, never wait for the GPU, draw no random numbers, and
    read nothing from the host that changes. With new shapes it is run as is at first, which creates what it creates
    lazily, and recorded the second time. Inputs are copied, and so are outputs: a replay overwrites those of the last.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[object, ...]] = set()
        self._recorded: dict[tuple[object, ...], tuple[torch.cuda.CUDAGraph, Batch, Batch]] = {}
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()  # shared, since graphs never run at the same time

    def run(self, step: Step, batch: Batch) -> Batch:
        """Run `step`, which is the same at each call, on a batch."""
        shapes = tuple((name, *value.shape) for name, value in batch.items())
        if shapes not in self._seen:
            self._seen.add(shapes)
            return self._launch(step, batch)
        if shapes not in self._recorded:
            self._recorded[shapes] = self._record(step, batch)
        graph, inputs, outputs = self._recorded[shapes]
        for name, value in batch.items():
            inputs[name].copy_(value)
        graph.replay()
        return {name: value.clone() for name, value in outputs.items()}

    def _launch(self, step: Step, batch: Batch) -> Batch:
        """Run the step in the stream that records it, where its workspaces are then allocated."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            outputs = step(batch)
        torch.cuda.current_stream().wait_stream(self._stream)
        return outputs

    def _record(self, step: Step, batch: Batch) -> tuple[torch.cuda.CUDAGraph, Batch, Batch]:
        graph, inputs = torch.cuda.CUDAGraph(), {name: value.clone() for name, value in batch.items()}
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            outputs = step(inputs)
        return graph, inputs, outputs
