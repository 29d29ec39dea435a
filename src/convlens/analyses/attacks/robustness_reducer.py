"""Attack the images of a data set batch by batch, and count the predictions that stay correct.

Every image is counted in whole numbers, so that the counts of parts of a data set add up in any
order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from convlens.analyses.attacks.criterion import AttackCriterion, loss_gradient, to_attackable
from convlens.analyses.attacks.diagnostics import Diagnostic, diagnose_pgd, diagnose_zero_gradients
from convlens.analyses.attacks.robustness import FGSM, NOISE, PGD, Curve, Robustness
from convlens.analyses.attacks.steps import fgsm_step, pgd_start, pgd_step, pgd_step_size
from convlens.analyses.predictions.predictions import compute_logits, compute_logits_together
from convlens.capture.folded_networks import fold_batch_norms
from convlens.capture.gradients import enable_gradients
from convlens.models.labels import PhotoLabels
from convlens.models.model import Model
from convlens.models.output_head import NEGATIVE, predicted_classes
from convlens.passes.proportion import wilson_interval
from convlens.passes.random_numbers import random_signs, random_uniform
from convlens.passes.reducer import State
from convlens.tracing.trace import Trace
from convlens.tracing.tracer import trace as trace_network

_FIXED_POINT = 2**32  # the largest change is kept as a whole number of this fraction of the span


@dataclass(frozen=True)
class RobustnessReducer:
    """Attacks each batch by FGSM, random signs and PGD at every epsilon, and counts.

    Attributes:
        model: the model to attack; left untouched.
        epsilons: epsilons in the units of the image, ascending.
        labels: for each image of the data set the classes that are right, or None if they are not
            known; None: the network's own predictions are taken as right.
        loss: E, "cross-entropy" or "margin".
        pgd_steps: the number of steps of PGD; 0 leaves PGD out.
        seed: seed of the random signs; PGD's random starts use the next one.
    """

    model: Model
    epsilons: tuple[float, ...]
    labels: PhotoLabels | None
    loss: str
    pgd_steps: int
    seed: int

    def initial_state(self) -> State:
        """The counts of no images."""
        per_epsilon = ("fgsm", "noise", "pgd", "pgd_only", "fgsm_only", "largest_change")
        single = (
            "images", "unlabeled", "correct", "zero_gradients", "pixels", "mostly_zero_gradients",
        )  # fmt: skip
        counts = {name: torch.zeros(len(self.epsilons), dtype=torch.int64) for name in per_epsilon}
        return counts | {name: torch.zeros((), dtype=torch.int64) for name in single}

    def merge(self, state_a: Mapping[str, Tensor], state_b: Mapping[str, Tensor]) -> State:
        """The counts of both sets of images together."""
        merged = {
            name: state_a[name] + state_b[name] for name in state_a if name != "largest_change"
        }
        largest_change = torch.maximum(state_a["largest_change"], state_b["largest_change"])
        return merged | {"largest_change": largest_change}

    @enable_gradients()
    @fold_batch_norms()
    def process_batch(self, state: State, images: Tensor, ids: Tensor) -> None:
        """Attack a batch `(N, C, H, W)` of the images numbered `ids`, and add to the counts."""
        labels = None
        if self.labels is not None:
            labels = [self.labels[number] for number in ids.tolist()]
            labeled = torch.tensor([bool(classes) for classes in labels], dtype=torch.bool)
            state["unlabeled"] += int((~labeled).sum())
            if not bool(labeled.any()):
                return
            images, ids = images[labeled], ids[labeled]
            labels = [classes for classes in labels if classes]
        images = to_attackable(images.to(self.model.device))
        trace = trace_network(self.model, images)
        first_labels = [classes[0] for classes in labels] if labels else None
        criterion = AttackCriterion(labels=first_labels, loss=self.loss)
        gradient = loss_gradient(self.model, trace, images, criterion)
        signs = gradient.signs
        correct_classes = _CorrectClasses.from_labels(gradient.classes, labels, trace.output_head)
        correct = correct_classes.contain_predictions(gradient.logits)
        state["images"] += len(images)
        state["correct"] += int(correct.sum())
        zero_gradients = (signs == 0).flatten(1).sum(dim=1)
        state["zero_gradients"] += int(zero_gradients.sum())
        state["pixels"] += signs.numel()
        state["mostly_zero_gradients"] += int((2 * zero_gradients > signs[0].numel()).sum())
        noise_signs = random_signs(images, ids, self.seed) * signs.abs()
        batch = _Batch(images, ids, trace, signs, noise_signs, correct_classes)
        pgd_correct = correct
        for number in range(len(self.epsilons)):
            fgsm_correct = self._attack_by_signs(state, batch, number)
            if self.pgd_steps:
                pgd_correct = self._attack_by_pgd(batch, pgd_correct, self.epsilons[number])
                state["pgd"][number] += int(pgd_correct.sum())
                state["pgd_only"][number] += int((fgsm_correct & ~pgd_correct).sum())
                state["fgsm_only"][number] += int((pgd_correct & ~fgsm_correct).sum())

    def _attack_by_signs(self, state: State, batch: "_Batch", number: int) -> Tensor:
        """Attack by FGSM and by random signs at an epsilon, and add to the counts.

        Returns:
            Bool `(N,)`: the images that are still predicted correctly after FGSM.
        """
        epsilon, bounds = self.epsilons[number], self.model.bounds
        adversarial = fgsm_step(batch.images, batch.signs, epsilon, bounds)
        change = float((adversarial - batch.images).abs().max()) / self.model.span
        state["largest_change"][number] = torch.maximum(
            state["largest_change"][number],
            torch.tensor(round(change * _FIXED_POINT), dtype=torch.int64),
        )
        noisy = fgsm_step(batch.images, batch.noise_signs, epsilon, bounds)
        logits = compute_logits_together(self.model, batch.trace, [adversarial, noisy])
        fgsm_correct, noise_correct = map(batch.correct_classes.contain_predictions, logits)
        state["fgsm"][number] += int(fgsm_correct.sum())
        state["noise"][number] += int(noise_correct.sum())
        return fgsm_correct

    def _attack_by_pgd(self, batch: "_Batch", correct: Tensor, epsilon: float) -> Tensor:
        """Attack the images that are still predicted correctly, bool `(N,)`; return which remain.

        An image is not attacked further as soon as its prediction is wrong.
        """
        rows = correct.nonzero().flatten()
        if len(rows) == 0:
            return correct
        step_size = pgd_step_size(epsilon, self.pgd_steps) if epsilon else 0.0
        originals = batch.images[rows]
        noise = random_uniform(originals, batch.ids[rows.cpu()], self.seed + 1)
        adversarial = pgd_start(originals, noise, epsilon, self.model.bounds)
        for _ in range(self.pgd_steps):
            criterion = AttackCriterion(
                classes=batch.correct_classes.attacked[rows], loss=self.loss
            )
            gradient = loss_gradient(self.model, batch.trace, adversarial, criterion)
            remaining = batch.correct_classes.contain_predictions(gradient.logits, rows)
            rows, originals = rows[remaining], originals[remaining]
            if len(rows) == 0:
                break
            adversarial = pgd_step(
                originals,
                adversarial[remaining],
                gradient.signs[remaining],
                epsilon,
                step_size,
                self.model.bounds,
            )
        if len(rows):
            logits = compute_logits(self.model, batch.trace, adversarial)
            rows = rows[batch.correct_classes.contain_predictions(logits, rows)]
        still_correct = torch.zeros_like(correct)
        still_correct[rows] = True
        return still_correct

    def result(
        self,
        state: Mapping[str, Tensor],
        skipped: Sequence[str],
        diagnostics: Sequence[Diagnostic],
    ) -> Robustness:
        """Make the result from the counts of a pass.

        Args:
            state: the counts.
            skipped: the images that could not be read, with the reason.
            diagnostics: the diagnostics of the first images.
        """
        images = int(state["images"])
        names = {FGSM: "fgsm", NOISE: "noise"} | ({PGD: "pgd"} if self.pgd_steps else {})
        curves = tuple(
            _curve(name, [int(state["correct"]), *state[key].tolist()], images)
            for name, key in names.items()
        )
        return Robustness(
            model=self.model.name,
            images=images,
            unlabeled=int(state["unlabeled"]),
            skipped=tuple(skipped),
            reference="prediction" if self.labels is None else "label",
            loss=self.loss,
            epsilons=(0.0, *self.epsilons),
            fractions=(0.0, *(epsilon / self.model.span for epsilon in self.epsilons)),
            curves=curves,
            pgd_only=tuple(state["pgd_only"].tolist()),
            fgsm_only=tuple(state["fgsm_only"].tolist()),
            pgd_steps=self.pgd_steps,
            seed=self.seed,
            zero_gradients=int(state["zero_gradients"]) / max(1, int(state["pixels"])),
            largest_changes=tuple(
                change / _FIXED_POINT * self.model.span
                for change in state["largest_change"].tolist()
            ),
            diagnostics=(*diagnostics, *self._diagnose_counts(state)),
        )

    def _diagnose_counts(self, state: Mapping[str, Tensor]) -> list[Diagnostic]:
        """The diagnostics that need the counts of all images."""
        diagnostics = []
        zero_gradients = diagnose_zero_gradients(
            int(state["mostly_zero_gradients"]), int(state["images"]), self.loss
        )
        if zero_gradients is not None:
            diagnostics.append(zero_gradients)
        pgd_only = state["pgd_only"].tolist()
        worst = max(range(len(self.epsilons)), key=lambda number: pgd_only[number])
        if pgd_only[worst]:
            epsilon = f"{self.epsilons[worst] / self.model.span * 255:.3g}/255"
            standing = int(state["fgsm"][worst])
            fgsm_like_noise = standing >= int(state["noise"][worst])
            diagnostics.append(
                diagnose_pgd(
                    pgd_only[worst],
                    int(state["fgsm_only"][worst]),
                    standing,
                    epsilon,
                    labeled=self.labels is not None,
                    fgsm_like_noise=fgsm_like_noise,
                )
            )
        return diagnostics


@dataclass(frozen=True)
class _Batch:
    """Images that are attacked together.

    Attributes:
        images: `(N, C, H, W)`, in the precision in which they are attacked.
        ids: int64 `(N,)` on the CPU, their numbers in the data set.
        trace: the trace of the network for them.
        signs: `(N, C, H, W)`, the signs of the gradient of E.
        noise_signs: `(N, C, H, W)`, random signs, 0 where the gradient is 0.
        correct_classes: the classes that are right for each image.
    """

    images: Tensor
    ids: Tensor
    trace: Trace
    signs: Tensor
    noise_signs: Tensor
    correct_classes: "_CorrectClasses"


@dataclass(frozen=True)
class _CorrectClasses:
    """The classes that are right for each image of a batch; a prediction of any is correct.

    Attributes:
        attacked: int64 `(N,)`, class t of each image.
        members: int64 `(N, K)`, the classes that are right, filled up with no class.
        output_head: "softmax" or "sigmoid", by which the logits are read.
    """

    attacked: Tensor
    members: Tensor
    output_head: str

    @classmethod
    def from_labels(
        cls, attacked: Tensor, labels: Sequence[Sequence[int]] | None, output_head: str
    ) -> "_CorrectClasses":
        """The right classes of each image by its label; without labels, the attacked class."""
        classes = labels or [[index] for index in attacked.tolist()]
        width = max(map(len, classes))
        no_class = NEGATIVE - 1
        rows = [[*row, *[no_class] * (width - len(row))] for row in classes]
        return cls(
            attacked, torch.tensor(rows, device=attacked.device, dtype=torch.int64), output_head
        )

    def contain_predictions(self, logits: Tensor, rows: Tensor | None = None) -> Tensor:
        """Bool `(N,)`: which predictions are correct, for all images or for those in `rows`."""
        members = self.members if rows is None else self.members[rows]
        return (predicted_classes(logits, self.output_head)[:, None] == members).any(dim=1)


def _curve(name: str, correct: Sequence[int], images: int) -> Curve:
    intervals = [wilson_interval(count, images) for count in correct]
    return Curve(
        name=name,
        correct=tuple(correct),
        accuracies=tuple(count / max(1, images) for count in correct),
        low=tuple(low for low, _ in intervals),
        high=tuple(high for _, high in intervals),
    )
