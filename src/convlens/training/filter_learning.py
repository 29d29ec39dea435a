"""Learn first-layer filters from photos: an autoencoder that removes noise from small patches."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convlens.data.photos import PhotoLike, read_photo, read_photos
from convlens.errors import ConvlensError
from convlens.models.loading.demo_photos import demo_photos
from convlens.models.model import Model
from convlens.models.wrap import wrap
from convlens.results.network_result import warn
from convlens.runtime.callbacks import or_ignore
from convlens.runtime.default_device import check_default_device

_PATCHES = 48_000  # of all photos together
_BATCH = 256
_LEARNING_RATE = 6e-3  # the peak of one cycle, of Adam
_FIRST_STD = 0.1  # of the weights before training
_CUTOFF = 0.4  # of the whitening, in cycles per pixel
_LEAST_CONTRAST = 0.3  # added to the contrast by which patches are divided, in units of its mean
_NOISE = 0.7  # standard deviation of the noise
_SPARSITY = 0.5  # weight of the sum of the activations in the loss
_SIZE = 32  # pixels of the images of the model


def learn_filters(
    photos: Sequence[PhotoLike] | None = None,
    *,
    filters: int = 64,
    kernel: int = 11,
    steps: int = 4000,
    seed: int = 0,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Model:
    """Train a convolution on photos, so that its filters can be compared with Gabor functions.

    The convolution is the encoder of a denoising autoencoder (Vincent et al., 2010): from patches
    with noise, a linear decoder computes the patches without noise from its rectified outputs, few
    of which should be active. The photos are whitened first, as by the retina (Olshausen & Field,
    1996), and the contrast of the patches is made similar. No labels are needed, and nothing in the
    task asks for edges or waves.

    Args:
        photos: photos to cut patches from. Default: the demonstration photos.
        filters: number of filters; default 64.
        kernel: height and width of the filters in pixels; default 11.
        steps: number of training steps; default 4000, less than a minute on two cores.
        seed: seed of patches, noise and first weights; default 0.
        strict: raise for a photo that cannot be read; default: leave it out, with a
            `ConvlensWarning` that names it.
        progress: called with the number of steps done and their total; default: not called.

    Returns:
        A model of one convolution and a ReLU, for gray images.

    Raises:
        PhotoError: none of the photos can be read or, with `strict`, one cannot.
        ConvlensError: no photos, one that is smaller than the filters, a number below 1, or a
            default device of torch other than the CPU.

    References:
        Vincent et al., Stacked Denoising Autoencoders, 2010. Olshausen and Field, Emergence of
        simple-cell receptive field properties by learning a sparse code for natural images, 1996.

    Example:
        >>> import convlens
        >>> from PIL import Image
        >>> model = convlens.learn_filters([Image.radial_gradient("L")], filters=4, steps=2)
        >>> model.network.encoder.weight.shape
        torch.Size([4, 1, 11, 11])
    """
    check_default_device()
    if min(filters, kernel, steps) < 1:
        raise ConvlensError(
            f"{filters} filters of {kernel} x {kernel}, {steps} steps; give at least 1 of each"
        )
    demo = [photo.path for photo in demo_photos()] if photos is None else []
    sources: list[PhotoLike] = [*demo, *(photos or ())]
    if not sources:
        raise ConvlensError("no photos; give at least one")
    generator = torch.Generator().manual_seed(seed)
    patches = _cut_patches(sources, kernel, generator, strict=strict)
    weights, biases = _train(patches, filters, steps, generator, or_ignore(progress))
    convolution = nn.Conv2d(1, filters, kernel)
    with torch.no_grad():
        convolution.weight.copy_(weights.view(filters, 1, kernel, kernel))
        convolution.bias.copy_(biases)  # type: ignore[union-attr]
    network = nn.Sequential(OrderedDict(encoder=convolution, relu=nn.ReLU())).eval()
    return wrap(network, size=max(_SIZE, kernel), channels=1, name="denoising autoencoder")


def _cut_patches(
    photos: Sequence[PhotoLike], side: int, generator: torch.Generator, *, strict: bool
) -> Tensor:
    """Patches `(N, side * side)` at random places of whitened photos, similar in contrast."""
    count = max(1, _PATCHES // len(photos))

    def cut(photo: PhotoLike) -> Tensor:
        pixels = np.asarray(read_photo(photo).picture.convert("L"), np.float32)
        if min(pixels.shape) < side:
            raise ConvlensError(
                f"{photo} has {pixels.shape[0]} x {pixels.shape[1]} pixels, fewer than the "
                f"filters; give larger photos, or a smaller kernel"
            )
        image = _whiten(torch.from_numpy(pixels))
        windows = (image / image.std().clamp(min=1e-6)).unfold(0, side, 1).unfold(1, side, 1)
        rows = torch.randint(windows.shape[0], (count,), generator=generator)
        columns = torch.randint(windows.shape[1], (count,), generator=generator)
        return windows[rows, columns].flatten(1)

    parts, skipped = read_photos(photos, strict=strict, read=cut)
    for photo in skipped:
        warn(f"left out: {photo.reason}")
    patches = torch.cat(parts)
    patches = patches - patches.mean(dim=1, keepdim=True)
    patches = patches / patches.std().clamp(min=1e-6)
    return patches / (patches.std(dim=1, keepdim=True) + _LEAST_CONTRAST)


def _whiten(image: Tensor) -> Tensor:
    """Multiply each frequency f by f exp(−(f/f₀)⁴) (Olshausen & Field, 1996).

    Amplitudes of natural images fall with 1/f, so they become flat up to f₀; grain and compression
    beyond it are taken out.
    """
    height, width = image.shape
    down = torch.fft.fftfreq(height, dtype=torch.float32)[:, None]
    right = torch.fft.fftfreq(width, dtype=torch.float32)[None]
    frequency = (down**2 + right**2).sqrt()
    gain = frequency * torch.exp(-((frequency / _CUTOFF) ** 4))
    return torch.fft.ifft2(torch.fft.fft2(image) * gain).real


def _train(
    patches: Tensor,
    filters: int,
    steps: int,
    generator: torch.Generator,
    progress: Callable[[int, int], None],
) -> tuple[Tensor, Tensor]:
    """The weights `(filters, D)` and biases of the encoder after training."""
    size = patches.shape[1]
    encoder, decoder = (
        (torch.randn(filters, size, generator=generator, dtype=torch.float32) * _FIRST_STD)
        .requires_grad_()
        for _ in range(2)
    )  # fmt: skip
    biases = torch.zeros(filters, dtype=torch.float32, requires_grad=True)
    optimizer = torch.optim.Adam([encoder, decoder, biases], lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps)
    with torch.inference_mode(mode=False), torch.enable_grad():
        for step in range(steps):
            numbers = torch.randint(len(patches), (_BATCH,), generator=generator)
            clean = patches[numbers]
            noise = torch.randn(clean.shape, generator=generator, dtype=torch.float32)
            noisy = clean + _NOISE * noise
            activations = F.relu(F.linear(noisy, encoder, biases))
            # Scaled to norm 1: otherwise small activations and large weights avoid the penalty.
            restored = activations @ F.normalize(decoder, dim=1)
            error = (restored - clean).square().sum(dim=1).mean() / 2
            loss = error + _SPARSITY * activations.sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % 100 == 99 or step + 1 == steps:
                progress(step + 1, steps)
    return encoder.detach(), biases.detach()
