"""A function captured in a CUDA graph."""

import torch


def captured(function):
    """Replays `function`; what it returned at the capture lies in the same memory each time."""
    # Compiling and cuBLAS's workspace are no part of a capture.
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = function()

    def replay():
        graph.replay()
        return results

    return replay
