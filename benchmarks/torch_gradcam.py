"""pytorch-grad-cam's GradCAM of Net-5, as a process that explains on request; see `TorchGradCam`.

As its documentation has it: the last activation is the target layer, the score itself the target; images
are on the device as float32 beforehand. Its maps come out at the size of the network's input.
"""

from torch_net5 import TorchProcess, build_network, serve


class TorchGradCam(TorchProcess):
    """Maps of batches of images.

    Args:
        rows, window, precision: as for `torch_net5.TorchStep`.
        batch: images in a batch.
        channels_last: memory format of network and images.
        frozen: no gradients below the target layer, which the user has to arrange by hand.
    """

    def __init__(self, rows, window, precision, batch, channels_last, frozen=False):
        super().__init__(
            __file__,
            rows=rows,
            window=window,
            precision=precision,
            batch=batch,
            channels_last=channels_last,
            frozen=frozen,
        )


def build_cam(rows, window, precision, batch, channels_last, frozen):
    """Returns (network, a function that makes the maps of one batch)."""
    import torch

    define_missing_operators()
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import RawScoresOutputTarget

    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = build_network(rows, window).to(memory_format=layout)
    if frozen:
        *below, last_bias, _ = network.features
        for module in below:
            module.requires_grad_(False)
        last_bias.requires_grad_(True)  # the target layer is its only heir
    images = torch.randint(0, 256, (batch, 3, window, window)).float().to(memory_format=layout)
    half = precision == "mixed_bfloat16"
    to_float = (lambda values: values.float()) if half else None  # NumPy has no bfloat16
    cam = GradCAM(network, [network.features[-1]], reshape_transform=to_float)
    targets = [RawScoresOutputTarget()] * batch

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            maps = cam(images, targets)
        if maps.shape != (batch, window, window):
            raise RuntimeError(f"expected maps of {batch}x{window}x{window}, found {maps.shape}")

    return network, step


def define_missing_operators():
    """Lets torchvision be imported beside PyTorch's CPU build; grad-cam needs it only to detect objects.

    PyPI's torchvision is built for CUDA: without it, two operators that its import names aren't there.
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{name}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor"
            )


if __name__ == "__main__":
    serve(build_cam)
