"""Least-squares fits of Gabor functions to filters, all filters of a layer in one batch.

The channels of a filter share center, direction, frequency and envelope. Amplitude and phase of
each channel enter linearly, as a sine and a cosine part, and are solved for exactly at every step,
which leaves six numbers to search. This is variable projection (Golub & Pereyra, 1973), with
Gauss-Newton steps that are damped as in the method of Levenberg and Marquardt.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.gabor.function import bar_orientation
from convlens.errors import ConvlensError

SMALLEST_SIDE = 5  # weights: some Gabor function fits any 3 x 3 filter

_STARTS = 3  # starting points of the search for each filter
_STEPS = 40
_SPECTRUM_SIDE = 32  # pixels to which a filter is padded before its spectrum is computed
_BATCH = 4096  # searches that run at once
_TINY = 1e-12

# Bounds of the search. A wave that is constant over the filter, or an envelope far broader than
# it, fits as well as any slower or broader one, so values beyond the bounds cannot be measured.
_LOWEST_FREQUENCY = 0.01  # cycles per pixel
_SMALLEST_SIGMA, _LARGEST_SIGMA = 0.5, 1.5  # in pixels; in sides of the filter
_NYQUIST = 0.5  # cycles per pixel along an axis: higher frequencies look like lower ones
_TOLERANCE = 1e-3  # relative distance at which a value counts as being at a bound

# The six numbers: center x and y, θ, ω, and the logarithms of α and β.
_X, _Y, _THETA, _OMEGA, _ALPHA, _BETA = range(6)


@dataclass(frozen=True, eq=False)
class GaborParameters:
    """Parameters of the Gabor functions nearest to F filters.

    Attributes:
        x0: `(F,)`, center in pixels from the middle of the filter, to the right.
        y0: `(F,)`, center in pixels from the middle of the filter, downward.
        theta: `(F,)`, direction of the wave in radians from -π/2 to π/2, from x toward y.
        frequency: `(F,)`, in cycles per pixel.
        sigma_along: `(F,)`, standard deviation of the envelope along the wave, in pixels.
        sigma_across: `(F,)`, standard deviation of the envelope across the wave, in pixels.
        amplitude: `(F, C)`, of each channel, at least 0.
        phase: `(F, C)`, in radians; 0 is odd about the center, π/2 even.
        r2: `(F,)`, share of the filter's squared weights that the function explains.
        fitted: `(F, C, M, M)`, the fitted functions.
        at_bound: for each filter the names of the values that are at a bound of the search or at
            the Nyquist frequency, and so were not measured.
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
        """`(F,)`, of the bars, in degrees from 0 to 180, counter-clockwise from horizontal."""
        return torch.tensor(
            [bar_orientation(float(theta)) for theta in self.theta], dtype=torch.float32
        )


def fit_gabor_parameters(filters: Tensor) -> GaborParameters:
    """Fit a Gabor function to each filter by least squares.

    Several parameters describe the same function with other signs. The result has θ from -π/2 to
    π/2, a positive frequency and amplitudes of at least 0.

    Args:
        filters: `(F, C, M, M)`, with M of at least 5: some Gabor function fits any smaller filter.

    Raises:
        ConvlensError: the filters have another shape, or are smaller than 5 × 5.
    """
    if filters.ndim != 4 or min(filters.shape) < 1 or min(filters.shape[2:]) < SMALLEST_SIDE:
        raise ConvlensError(
            f"filters of shape {tuple(filters.shape)}; give (F, C, M, M) with M of at least "
            f"{SMALLEST_SIDE}"
        )
    weights = filters.detach().cpu().double()
    parts = [_search(part) for part in weights.split(max(1, _BATCH // _STARTS))]
    parameters = torch.cat(parts)
    coefficients, fitted = _solve_linear(parameters, weights)
    power = weights.square().sum((1, 2, 3)).clamp(min=1e-300)
    residual = (weights - fitted).square().sum((1, 2, 3))
    sine, cosine = coefficients.unbind(-1)
    theta, phase = parameters[:, _THETA], torch.atan2(cosine, sine)
    reduced_theta = theta - math.pi * torch.round(theta / math.pi)
    # Half a turn reverses the wave: A sin(ω(-x̃) + φ) = A sin(ω x̃ + π - φ).
    is_reversed = (torch.round(theta / math.pi).long() % 2 != 0)[:, None]
    phase = torch.where(is_reversed, math.pi - phase, phase)
    return GaborParameters(
        x0=parameters[:, _X].float(),
        y0=parameters[:, _Y].float(),
        theta=reduced_theta.float(),
        frequency=(parameters[:, _OMEGA] / (2 * math.pi)).float(),
        sigma_along=(0.5 / parameters[:, _ALPHA].exp()).sqrt().float(),
        sigma_across=(0.5 / parameters[:, _BETA].exp()).sqrt().float(),
        amplitude=torch.hypot(sine, cosine).float(),
        phase=torch.remainder(phase + math.pi, 2 * math.pi).float() - math.pi,
        r2=(1 - residual / power).float(),
        fitted=fitted.float(),
        at_bound=_values_at_bound(parameters, max(filters.shape[2:])),
    )


def uniform_responses(fit: GaborParameters) -> Tensor:
    """Response `(F,)` to a uniform image, as a share of that to the filter's own wave, 0 to 1.

    |Σ g exp(iωx̃)| / Σ g over the filter's weights, with g the envelope: the response of a
    quadrature pair with these parameters, which is 0 for a wave of many cycles and 1 without any
    wave. For an envelope within the filter it is exp(-(2π σ f)² / 2).
    """
    rows, columns = torch.meshgrid(*map(_axes, fit.fitted.shape[2:]), indexing="ij")
    shared = (fit.x0, fit.y0, fit.theta, fit.frequency, fit.sigma_along, fit.sigma_across)
    x0, y0, theta, frequency, sigma_along, sigma_across = (
        values.double().view(-1, 1, 1) for values in shared
    )
    dx, dy = columns - x0, rows - y0
    along = dx * theta.cos() + dy * theta.sin()
    across = -dx * theta.sin() + dy * theta.cos()
    envelope = torch.exp(-((along / sigma_along) ** 2 + (across / sigma_across) ** 2) / 2)
    wave = torch.polar(envelope, 2 * math.pi * frequency * along)
    return (wave.sum((1, 2)).abs() / envelope.sum((1, 2)).clamp(min=1e-300)).float()


def _values_at_bound(parameters: Tensor, side: int) -> tuple[tuple[str, ...], ...]:
    """Names of the values of each filter that are at a bound."""
    x, y, theta, omega, alpha, beta = parameters.unbind(1)
    frequency = omega / (2 * math.pi)
    along_axis = frequency * torch.maximum(theta.cos().abs(), theta.sin().abs())
    at_bound = {
        "frequency": (frequency <= _LOWEST_FREQUENCY * (1 + _TOLERANCE))
        | (along_axis >= _NYQUIST * (1 - _TOLERANCE)),
        "x0": x.abs() >= side / 2 * (1 - _TOLERANCE),
        "y0": y.abs() >= side / 2 * (1 - _TOLERANCE),
    }
    for name, power in (("sigma_along", alpha), ("sigma_across", beta)):
        sigma = (0.5 / power.exp()).sqrt()
        at_bound[name] = (sigma <= _SMALLEST_SIGMA * (1 + _TOLERANCE)) | (
            sigma >= _LARGEST_SIGMA * side * (1 - _TOLERANCE)
        )
    return tuple(
        tuple(name for name, filters in at_bound.items() if filters[number])
        for number in range(len(parameters))
    )


def _search(filters: Tensor) -> Tensor:
    """The six numbers `(F, 6)` of each filter: the best of several searches."""
    count, side = len(filters), max(filters.shape[2:])
    starts = _starting_points(filters)
    parameters = starts.flatten(0, 1)
    repeated = filters.repeat_interleave(starts.shape[1], dim=0)
    damping = parameters.new_full((len(parameters), 1, 1), 1e-2)
    residual, jacobian = _residual(parameters, repeated)
    error = residual.square().sum(1)
    for _ in range(_STEPS):
        normal = jacobian.transpose(1, 2) @ jacobian
        gradient = (jacobian.transpose(1, 2) @ residual[..., None])[..., 0]
        scaled = torch.diag_embed(normal.diagonal(dim1=1, dim2=2) + 1e-12)
        step = torch.linalg.solve(normal + damping * scaled, gradient)
        candidate = _clamp_to_bounds(parameters - step, side)
        new_residual, new_jacobian = _residual(candidate, repeated)
        new_error = new_residual.square().sum(1)
        better = new_error < error
        parameters = torch.where(better[:, None], candidate, parameters)
        residual = torch.where(better[:, None], new_residual, residual)
        jacobian = torch.where(better[:, None, None], new_jacobian, jacobian)
        error = torch.where(better, new_error, error)
        damping = torch.where(better[:, None, None], damping / 4, damping * 4).clamp(1e-9, 1e9)
    best = error.view(count, -1).argmin(dim=1)
    return parameters.view(count, -1, 6)[torch.arange(count), best]


def _starting_points(filters: Tensor) -> Tensor:
    """Starting points `(F, S, 6)`: the peaks of the spectrum, with envelopes of several widths."""
    count, _, height, width = filters.shape
    power = torch.fft.fft2(filters, s=(_SPECTRUM_SIDE, _SPECTRUM_SIDE)).abs().square().sum(1)
    axis = torch.fft.fftfreq(_SPECTRUM_SIDE, dtype=torch.float64)
    down, right = torch.meshgrid(axis, axis, indexing="ij")
    radius = torch.hypot(down, right)
    # One half of the frequency plane: the other half mirrors it. Close to 0 there is no wave.
    wave = ((right > 0) | ((right == 0) & (down > 0))) & (radius >= 0.04) & (radius <= 0.5)
    ranked = torch.where(wave, power, -1.0).flatten(1)
    grid = torch.stack([right.flatten(), down.flatten()], dim=1)
    energy = filters.square().sum(1)
    total = energy.sum((1, 2)).clamp(min=1e-300)
    y, x = _axes(height), _axes(width)
    center_x = (energy.sum(1) * x).sum(1) / total
    center_y = (energy.sum(2) * y).sum(1) / total
    starts = []
    for share in torch.linspace(0.18, 0.4, _STARTS, dtype=torch.float32):
        peak = ranked.argmax(dim=1)
        u, v = grid[peak].unbind(1)
        log_width = torch.full_like(u, -math.log(2 * float(share * max(height, width)) ** 2))
        starts.append(
            torch.stack(
                [center_x, center_y, torch.atan2(v, u), 2 * math.pi * torch.hypot(u, v),
                 log_width, log_width], dim=1,
            )
        )  # fmt: skip
        # The next search starts at the next peak, so the surroundings of this one are excluded.
        is_near_peak = (grid[None] - grid[peak][:, None]).square().sum(2) < (
            1.0 / max(height, width)
        ) ** 2
        ranked = torch.where(is_near_peak, -1.0, ranked)
    return torch.stack(starts, dim=1).view(count, _STARTS, 6)


def _clamp_to_bounds(parameters: Tensor, side: int) -> Tensor:
    """Keep centers within the filter, frequencies below the limit of the diagonal, and widths."""
    x, y, theta, omega, alpha, beta = parameters.unbind(1)
    # A negative frequency is the same wave in the opposite direction.
    theta = torch.where(omega < 0, theta + math.pi, theta)
    omega = omega.abs().clamp(
        2 * math.pi * _LOWEST_FREQUENCY, 2 * math.pi * _NYQUIST * math.sqrt(2)
    )
    narrow = -math.log(2 * _SMALLEST_SIGMA**2)
    broad = -math.log(2 * (_LARGEST_SIGMA * side) ** 2)
    return torch.stack(
        [x.clamp(-side / 2, side / 2), y.clamp(-side / 2, side / 2), theta, omega,
         alpha.clamp(broad, narrow), beta.clamp(broad, narrow)], dim=1,
    )  # fmt: skip


def _residual(parameters: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
    """The residual `(B, C M M)` of each filter, and its Jacobian by the six numbers.

    The Jacobian is Kaufman's approximation (1975): that of the basis, projected off the basis.
    """
    basis, slopes = gabor_basis(parameters, filters.shape[2:])
    target = filters.flatten(2)
    q, triangle = torch.linalg.qr(basis)
    along = target @ q
    residual = target - along @ q.transpose(1, 2)
    triangle = triangle + _TINY * torch.eye(2, dtype=triangle.dtype)  # the sine part may be 0
    coefficients = torch.linalg.solve_triangular(triangle, along.transpose(1, 2), upper=True)
    # (B, P, 6, 2) times (B, 2, C): the derivative of the fitted function by each number.
    moved = torch.einsum("bpks,bsc->bckp", slopes, coefficients)
    moved = moved - torch.einsum("bckq,bpq->bckp", torch.einsum("bckp,bpq->bckq", moved, q), q)
    return residual.flatten(1), -moved.transpose(2, 3).flatten(1, 2)


def _solve_linear(parameters: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
    """Sine and cosine parts `(F, C, 2)` of each channel, and the functions `(F, C, M, M)`."""
    basis, _ = gabor_basis(parameters, filters.shape[2:])
    target = filters.flatten(2).transpose(1, 2)
    solution = torch.linalg.lstsq(basis, target).solution
    fitted = (basis @ solution).transpose(1, 2).view_as(filters)
    return solution.transpose(1, 2), fitted


def gabor_basis(parameters: Tensor, size: torch.Size) -> tuple[Tensor, Tensor]:
    """Sine and cosine part `(B, P, 2)` under the envelope, and derivatives `(B, P, 6, 2)`."""
    rows, columns = torch.meshgrid(_axes(size[0]), _axes(size[1]), indexing="ij")
    x0, y0, theta, omega, log_alpha, log_beta = (values[:, None] for values in parameters.unbind(1))
    alpha, beta = log_alpha.exp(), log_beta.exp()
    dx, dy = columns.flatten() - x0, rows.flatten() - y0
    cos, sin = theta.cos(), theta.sin()
    along, across = dx * cos + dy * sin, -dx * sin + dy * cos
    envelope = torch.exp(-alpha * along**2 - beta * across**2)
    s, c = (omega * along).sin(), (omega * along).cos()
    basis = torch.stack([envelope * s, envelope * c], dim=2)
    waves = torch.stack([s, c], dim=2)
    wave_slopes = torch.stack([c, -s], dim=2)  # derivatives of the waves by their argument

    def derivative(d_along: Tensor, d_across: Tensor) -> Tensor:
        log_envelope_slope = -2 * alpha * along * d_along - 2 * beta * across * d_across
        return envelope[..., None] * (
            log_envelope_slope[..., None] * waves + (omega * d_along)[..., None] * wave_slopes
        )

    slopes = [
        derivative(-cos.expand_as(dx), sin.expand_as(dx)),
        derivative(-sin.expand_as(dx), -cos.expand_as(dx)),
        derivative(across, -along),
        (envelope * along)[..., None] * wave_slopes,
        (-alpha * along**2)[..., None] * basis,
        (-beta * across**2)[..., None] * basis,
    ]
    return basis, torch.stack(slopes, dim=2)


def _axes(length: int) -> Tensor:
    """Coordinates of the pixels of an axis, from its middle."""
    return torch.arange(length, dtype=torch.float64) - (length - 1) / 2
