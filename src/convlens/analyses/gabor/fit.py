"""Gabor fits: the Gabor function nearest to each filter, all filters of a layer in one batch.

The channels of a filter share center, direction, frequency and envelope; amplitude and phase of
each channel enter linearly (as a sine and a cosine part) and are solved for exactly at every step,
which leaves six numbers to search: variable projection (Golub & Pereyra, 1973), here with
Gauss-Newton steps that are damped as Levenberg and Marquardt do.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.gabor.gabor import orientation
from convlens.errors import ConvlensError

LEAST = 5  # weights on a side: a 3 x 3 filter is matched by some Gabor function whatever it is

_STARTS = 3  # of the search, for each filter
_STEPS = 40
_PADDED = 32  # pixels that the spectrum is taken on
_BATCH = 4096  # searches at a time
_TINY = 1e-12

# What the search is bounded by. A wave that stands still over a filter, or an envelope far broader
# than it, explains it as well as any slower or broader one: no value beyond is worth telling.
_SLOWEST = 0.01  # cycles a pixel
_NARROWEST, _BROADEST = 0.5, 1.5  # σ: pixels, and sides of the filter
_NYQUIST = 0.5  # cycles a pixel along an axis: faster waves look like slower ones
_CLOSE = 1e-3  # relative

# The six numbers: center x and y, θ, ω, and the logarithms of α and β.
_X, _Y, _THETA, _OMEGA, _ALPHA, _BETA = range(6)


@dataclass(frozen=True, eq=False)
class GaborParameters:
    """The nearest Gabor functions of F filters.

    Attributes:
        x0: `(F,)`, center in pixels from the middle of the filter, to the right.
        y0: `(F,)`, likewise downwards.
        theta: `(F,)`, direction of the wave in radians of -π/2 to π/2, from x towards y.
        frequency: `(F,)`, cycles a pixel.
        sigma_along: `(F,)`, standard deviation of the envelope along the wave, in pixels.
        sigma_across: `(F,)`, likewise across it.
        amplitude: `(F, C)`, of each channel, at least 0.
        phase: `(F, C)`, radians; 0 is odd about the center, π/2 even.
        r2: `(F,)`, share of the filter's squared weights that the function explains.
        fitted: `(F, C, M, M)`, the functions themselves.
        at_bound: for each filter the names of those values that stand at a bound of the search,
            or at the fastest wave that pixels can hold, and so were not measured.
    """

    x0: Tensor
    y0: Tensor
    theta: Tensor
    frequency: Tensor
    sigma_along: Tensor
    sigma_across: Tensor
    amplitude: Tensor
    phase: Tensor
    r2: Tensor
    fitted: Tensor
    at_bound: tuple[tuple[str, ...], ...]

    @property
    def orientations(self) -> Tensor:
        """`(F,)`, degrees of the bars, counter-clockwise from horizontal, of 0 to 180."""
        return torch.tensor([orientation(float(theta)) for theta in self.theta])


def fit_gabor_parameters(filters: Tensor) -> GaborParameters:
    """Fit a Gabor function to each filter.

    Of the descriptions of one function that only differ in signs the one with θ of -π/2 to π/2, a
    positive frequency and amplitudes of at least 0 is given.

    Args:
        filters: `(F, C, M, M)`; smaller than 5 × 5 a fit says nothing.

    Raises:
        ConvlensError: another shape, or filters below 5 × 5.
    """
    if filters.ndim != 4 or min(filters.shape) < 1 or min(filters.shape[2:]) < LEAST:
        raise ConvlensError(
            f"filters {tuple(filters.shape)}; (F, C, M, M) with M of at least {LEAST} is needed"
        )
    work = filters.detach().cpu().double()
    parts = [_search(part) for part in work.split(max(1, _BATCH // _STARTS))]
    parameters = torch.cat(parts)
    coefficients, fitted = _linear(parameters, work)
    power = work.square().sum((1, 2, 3)).clamp(min=1e-300)
    residual = (work - fitted).square().sum((1, 2, 3))
    sine, cosine = coefficients.unbind(-1)
    theta, phase = parameters[:, _THETA], torch.atan2(cosine, sine)
    turned = theta - math.pi * torch.round(theta / math.pi)
    # Half a turn makes the wave run backwards: A sin(ω(-x̃) + φ) = A sin(ω x̃ + π - φ).
    backwards = (torch.round(theta / math.pi).long() % 2 != 0)[:, None]
    phase = torch.where(backwards, math.pi - phase, phase)
    return GaborParameters(
        x0=parameters[:, _X].float(),
        y0=parameters[:, _Y].float(),
        theta=turned.float(),
        frequency=(parameters[:, _OMEGA] / (2 * math.pi)).float(),
        sigma_along=(0.5 / parameters[:, _ALPHA].exp()).sqrt().float(),
        sigma_across=(0.5 / parameters[:, _BETA].exp()).sqrt().float(),
        amplitude=torch.hypot(sine, cosine).float(),
        phase=torch.remainder(phase + math.pi, 2 * math.pi).float() - math.pi,
        r2=(1 - residual / power).float(),
        fitted=fitted.float(),
        at_bound=_at_bound(parameters, max(filters.shape[2:])),
    )


def envelope_means(fit: GaborParameters) -> Tensor:
    """`(F,)`: how far the waves of fitted functions average out under their envelopes, 0 to 1.

    |Σ g exp(iωx̃)| / Σ g over the filter's weights, with g the envelope. Of a pair of filters, sine
    and cosine, with these parameters it is the answer to a uniform image, as a share of that to
    their own wave: 0 for a wave, 1 where there is none. For an envelope within the filter it is
    exp(-(2π σ f)² / 2).
    """
    rows, columns = torch.meshgrid(*map(_axes, fit.fitted.shape[2:]), indexing="ij")
    each = (fit.x0, fit.y0, fit.theta, fit.frequency, fit.sigma_along, fit.sigma_across)
    x0, y0, theta, frequency, broad, high = (one.double().view(-1, 1, 1) for one in each)
    dx, dy = columns - x0, rows - y0
    along = dx * theta.cos() + dy * theta.sin()
    across = -dx * theta.sin() + dy * theta.cos()
    bell = torch.exp(-((along / broad) ** 2 + (across / high) ** 2) / 2)
    wave = torch.polar(bell, 2 * math.pi * frequency * along)
    return (wave.sum((1, 2)).abs() / bell.sum((1, 2)).clamp(min=1e-300)).float()


def _at_bound(parameters: Tensor, side: int) -> tuple[tuple[str, ...], ...]:
    """Names of the values of each filter that stand at a bound."""
    x, y, theta, omega, alpha, beta = parameters.unbind(1)
    frequency = omega / (2 * math.pi)
    fastest = frequency * torch.maximum(theta.cos().abs(), theta.sin().abs())
    stand = {
        "frequency": (frequency <= _SLOWEST * (1 + _CLOSE)) | (fastest >= _NYQUIST * (1 - _CLOSE)),
        "x0": x.abs() >= side / 2 * (1 - _CLOSE),
        "y0": y.abs() >= side / 2 * (1 - _CLOSE),
    }
    for name, power in (("sigma_along", alpha), ("sigma_across", beta)):
        sigma = (0.5 / power.exp()).sqrt()
        stand[name] = (sigma <= _NARROWEST * (1 + _CLOSE)) | (
            sigma >= _BROADEST * side * (1 - _CLOSE)
        )
    return tuple(
        tuple(name for name, which in stand.items() if which[number])
        for number in range(len(parameters))
    )


def _search(filters: Tensor) -> Tensor:
    """The six numbers of each filter: the best of several searches."""
    count, side = len(filters), max(filters.shape[2:])
    starts = _starts(filters)
    parameters = starts.flatten(0, 1)
    repeated = filters.repeat_interleave(starts.shape[1], dim=0)
    damping = parameters.new_full((len(parameters), 1, 1), 1e-2)
    residual, jacobian = _residual(parameters, repeated)
    error = residual.square().sum(1)
    for _ in range(_STEPS):
        normal = jacobian.transpose(1, 2) @ jacobian
        slope = (jacobian.transpose(1, 2) @ residual[..., None])[..., 0]
        scaled = torch.diag_embed(normal.diagonal(dim1=1, dim2=2) + 1e-12)
        step = torch.linalg.solve(normal + damping * scaled, slope)
        tried = _bounded(parameters - step, side)
        new_residual, new_jacobian = _residual(tried, repeated)
        new_error = new_residual.square().sum(1)
        better = new_error < error
        parameters = torch.where(better[:, None], tried, parameters)
        residual = torch.where(better[:, None], new_residual, residual)
        jacobian = torch.where(better[:, None, None], new_jacobian, jacobian)
        error = torch.where(better, new_error, error)
        damping = torch.where(better[:, None, None], damping / 4, damping * 4).clamp(1e-9, 1e9)
    best = error.view(count, -1).argmin(dim=1)
    return parameters.view(count, -1, 6)[torch.arange(count), best]


def _starts(filters: Tensor) -> Tensor:
    """Where the searches begin, `(F, S, 6)`: at the spectrum's peaks, with several envelopes."""
    count, _, height, width = filters.shape
    power = torch.fft.fft2(filters, s=(_PADDED, _PADDED)).abs().square().sum(1)
    axis = torch.fft.fftfreq(_PADDED, dtype=torch.float64)
    down, right = torch.meshgrid(axis, axis, indexing="ij")
    radius = torch.hypot(down, right)
    # Half of the plane: the other half mirrors it. The nearest to zero is no wave.
    wave = ((right > 0) | ((right == 0) & (down > 0))) & (radius >= 0.04) & (radius <= 0.5)
    ranked = torch.where(wave, power, -1.0).flatten(1)
    grid = torch.stack([right.flatten(), down.flatten()], dim=1)
    energy = filters.square().sum(1)
    total = energy.sum((1, 2)).clamp(min=1e-300)
    y, x = _axes(height), _axes(width)
    center_x = (energy.sum(1) * x).sum(1) / total
    center_y = (energy.sum(2) * y).sum(1) / total
    begun = []
    for share in torch.linspace(0.18, 0.4, _STARTS):
        peak = ranked.argmax(dim=1)
        u, v = grid[peak].unbind(1)
        width_of = torch.full_like(u, -math.log(2 * float(share * max(height, width)) ** 2))
        begun.append(
            torch.stack(
                [center_x, center_y, torch.atan2(v, u), 2 * math.pi * torch.hypot(u, v),
                 width_of, width_of], dim=1,
            )
        )  # fmt: skip
        # The next search begins at the next peak: what lies around this one is struck off.
        near = (grid[None] - grid[peak][:, None]).square().sum(2) < (1.0 / max(height, width)) ** 2
        ranked = torch.where(near, -1.0, ranked)
    return torch.stack(begun, dim=1).view(count, _STARTS, 6)


def _bounded(parameters: Tensor, side: int) -> Tensor:
    """Centers within the filter, frequencies up to the diagonal's limit, sensible envelopes."""
    x, y, theta, omega, alpha, beta = parameters.unbind(1)
    # A negative frequency is the wave the other way round.
    theta = torch.where(omega < 0, theta + math.pi, theta)
    omega = omega.abs().clamp(2 * math.pi * _SLOWEST, 2 * math.pi * _NYQUIST * math.sqrt(2))
    narrow, broad = -math.log(2 * _NARROWEST**2), -math.log(2 * (_BROADEST * side) ** 2)
    return torch.stack(
        [x.clamp(-side / 2, side / 2), y.clamp(-side / 2, side / 2), theta, omega,
         alpha.clamp(broad, narrow), beta.clamp(broad, narrow)], dim=1,
    )  # fmt: skip


def _residual(parameters: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
    """What is left of each filter `(B, C M M)`, and its slope along the six numbers.

    The slope is Kaufman's: that of the basis, projected off the basis.
    """
    basis, slopes = gabor_basis(parameters, filters.shape[2:])
    target = filters.flatten(2)
    q, triangle = torch.linalg.qr(basis)
    along = target @ q
    residual = target - along @ q.transpose(1, 2)
    triangle = triangle + _TINY * torch.eye(2, dtype=triangle.dtype)  # a sine may vanish
    coefficients = torch.linalg.solve_triangular(triangle, along.transpose(1, 2), upper=True)
    # (B, P, 6, 2) times (B, 2, C): how the fitted function moves with each number.
    moved = torch.einsum("bpks,bsc->bckp", slopes, coefficients)
    moved = moved - torch.einsum("bckq,bpq->bckp", torch.einsum("bckp,bpq->bckq", moved, q), q)
    return residual.flatten(1), -moved.transpose(2, 3).flatten(1, 2)


def _linear(parameters: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
    """Sine and cosine parts `(F, C, 2)` of each channel, and the functions `(F, C, M, M)`."""
    basis, _ = gabor_basis(parameters, filters.shape[2:])
    target = filters.flatten(2).transpose(1, 2)
    solution = torch.linalg.lstsq(basis, target).solution
    fitted = (basis @ solution).transpose(1, 2).view_as(filters)
    return solution.transpose(1, 2), fitted


def gabor_basis(parameters: Tensor, size: torch.Size) -> tuple[Tensor, Tensor]:
    """Sine and cosine under the bell `(B, P, 2)`, and their slopes `(B, P, 6, 2)`."""
    rows, columns = torch.meshgrid(_axes(size[0]), _axes(size[1]), indexing="ij")
    x0, y0, theta, omega, log_alpha, log_beta = (one[:, None] for one in parameters.unbind(1))
    alpha, beta = log_alpha.exp(), log_beta.exp()
    dx, dy = columns.flatten() - x0, rows.flatten() - y0
    cos, sin = theta.cos(), theta.sin()
    along, across = dx * cos + dy * sin, -dx * sin + dy * cos
    bell = torch.exp(-alpha * along**2 - beta * across**2)
    s, c = (omega * along).sin(), (omega * along).cos()
    basis = torch.stack([bell * s, bell * c], dim=2)
    waves = torch.stack([s, c], dim=2)
    turned = torch.stack([c, -s], dim=2)  # the waves' own slopes

    def moved(d_along: Tensor, d_across: Tensor) -> Tensor:
        fall = -2 * alpha * along * d_along - 2 * beta * across * d_across
        return bell[..., None] * (fall[..., None] * waves + (omega * d_along)[..., None] * turned)

    slopes = [
        moved(-cos.expand_as(dx), sin.expand_as(dx)),
        moved(-sin.expand_as(dx), -cos.expand_as(dx)),
        moved(across, -along),
        (bell * along)[..., None] * turned,
        (-alpha * along**2)[..., None] * basis,
        (-beta * across**2)[..., None] * basis,
    ]
    return basis, torch.stack(slopes, dim=2)


def _axes(length: int) -> Tensor:
    """Pixels from the middle."""
    return torch.arange(length, dtype=torch.float64) - (length - 1) / 2
