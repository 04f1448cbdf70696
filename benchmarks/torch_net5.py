"""Net-5 in PyTorch at its best CPU setting, as a process that trains on request; see `TorchStep`.

Channels last, bfloat16 autocast, fused SGD, one thread per core, and nothing done that the project's own
step doesn't do. L2 is the optimizer's weight decay, which spares PyTorch the penalty's forward pass.
"""

import json
import subprocess
import sys
import time

BATCH = 32


class TorchProcess:
    """Work of PyTorch's in a process of its own, so that two thread pools don't share one.

    Args:
        script: what the process runs; it calls `serve`.
        **arguments: what it is told, as JSON.

    Attributes:
        parameters: number of the network's parameters.
    """

    def __init__(self, script, **arguments):
        self._process = subprocess.Popen(
            [sys.executable, script, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.parameters = int(self._answer())

    def __call__(self, steps):
        """Runs steps; returns the seconds they took, as the process measured them."""
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the PyTorch process ended; its message stands above")
        return line

    def close(self):
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


class TorchStep(TorchProcess):
    """Training steps of Net-5.

    Args:
        rows: layers as dicts of filters, kernel and stride, or {} for a max pool.
        window: side of the network's input.
        precision: "float32" or "mixed_bfloat16".
        compiled: whether `torch.compile` is used.
    """

    def __init__(self, rows, window, precision, compiled):
        super().__init__(__file__, rows=rows, window=window, precision=precision, compiled=compiled)


def build_network(rows, window):
    """The network as a `torch.nn.Module`: (batch, 3, window, window), 0-255, to (batch,)."""
    import torch
    from torch import nn

    class UntiedBias(nn.Module):
        def __init__(self, channels, side):
            super().__init__()
            bias = torch.full((1, channels, side, side), 0.05)
            self.bias = nn.Parameter(bias.to(memory_format=torch.channels_last))

        def forward(self, x):
            return x + self.bias.to(x.dtype)

    class Net5(nn.Module):
        def __init__(self):
            super().__init__()
            layers, channels, side = [], 3, window
            for row in rows:
                if not row:
                    layers.insert(
                        -1, nn.MaxPool2d(3, 2)
                    )  # before the leaky ReLU: the same numbers, a quarter
                    side = (side - 3) // 2 + 1  # of the work
                    continue
                kernel, stride, filters = row["kernel"], row["stride"], row["filters"]
                convolution = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=False)
                nn.init.orthogonal_(convolution.weight)
                channels, side = filters, (side - 1) // stride + 1
                layers += [convolution, UntiedBias(channels, side), nn.LeakyReLU(0.01, inplace=True)]
            self.features = nn.Sequential(*layers)
            self.score = nn.Linear(channels, 1)

        def forward(self, x):
            x = self.features((x - 100.0) / 50.0).float().mean((2, 3))
            with torch.autocast("cpu", enabled=False):
                return self.score(x)[:, 0]

    return Net5().to(memory_format=torch.channels_last)


def build_step(rows, window, precision, compiled):
    """Returns (network, a function that makes one training step and returns its loss)."""
    import torch

    torch.manual_seed(0)
    network = build_network(rows, window)
    images = torch.randint(0, 256, (BATCH, 3, window, window)).float()
    images, grades = images.to(memory_format=torch.channels_last), torch.randint(0, 5, (BATCH,)).float()
    kernels = [p for n, p in network.named_parameters() if n.startswith("features") and n.endswith("weight")]
    rest = [
        p for n, p in network.named_parameters() if not (n.startswith("features") and n.endswith("weight"))
    ]
    groups = [{"params": kernels, "weight_decay": 2 * 0.0005}, {"params": rest}]
    optimizer = torch.optim.SGD(groups, 0.003, momentum=0.9, nesterov=True, fused=True)

    def loss_of(images, grades):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed_bfloat16"):
            scores = network(images)
        return torch.nn.functional.mse_loss(scores, grades)

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(images, grades)
        loss.backward()
        optimizer.step()
        return loss.item()

    return network, step


def serve(build):
    """Builds what the command line describes, warms it up, prints the number of parameters, and answers
    every number of repetitions with the seconds that they took.

    Args:
        build: function of the arguments, returning (network, a function that is timed).
    """
    import os

    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    network, step = build(**json.loads(sys.argv[1]))
    for _ in range(3):
        step()
    print(sum(p.numel() for p in network.parameters()), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    serve(build_step)
