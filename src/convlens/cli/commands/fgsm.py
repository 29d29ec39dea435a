"""The fgsm command: adversarial images, accuracy against epsilon, and the smallest flip."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import PREDICTIONS, app
from convlens.cli.arguments import PassArguments, with_arguments


@app.command(rich_help_panel=PREDICTIONS)
@with_arguments(PassArguments, out=Path("convlens-fgsm"))
def fgsm(
    arguments: PassArguments,
    epsilons: Annotated[
        str,
        typer.Option(
            callback=checks.check_epsilons,
            help="The largest change of a pixel, several separated by commas. 8/255 is a fraction "
            "of the span of the bounds, 0.1 is in image units.",
        ),
    ] = "1/255,2/255,4/255,8/255",
    classes: o.OneClass = None,
    target: o.Target = None,
    loss: Annotated[
        o.Loss,
        typer.Option(help="The loss: cross-entropy, or margin for over-confident networks."),
    ] = o.Loss.cross_entropy,
    labels: o.Labels = None,
    no_labels: o.NoLabels = False,
    pgd_steps: Annotated[
        int, typer.Option(min=0, help="Steps of PGD in the curve; 0 leaves PGD out.")
    ] = 10,
    show: Annotated[
        int, typer.Option(min=0, help="Number of photos with pictures of their own.")
    ] = 16,
    internal_changes: Annotated[
        bool,
        typer.Option(
            "--internal-changes",
            help="Also list the channels that the largest epsilon changes most, with Grad-CAM.",
        ),
    ] = False,
) -> None:
    """Attack photos by the fast gradient sign method; over several, plot accuracy against epsilon.

    For each photo it also finds the smallest change in gray levels that flips the prediction. In
    Python: convlens.attack_photos.
    """
    from convlens.cli.class_words import check_class_words
    from convlens.cli.dataset_pass import PassInputs
    from convlens.files import NUMBERS

    check_class_words(arguments, (classes, target))
    inputs = PassInputs.load(  # before the imports that need torch
        arguments, labels=labels, no_labels=no_labels, marker=NUMBERS
    )
    from convlens.analyses.attacks.epsilon import parse_epsilons
    from convlens.analyses.attacks.photo_attacks import attack_photos
    from convlens.cli.folders import command_line
    from convlens.cli.show.fgsm import show_attacks

    sizes = [text.strip() for text in epsilons.split(",")]
    parse_epsilons(sizes, inputs.model.bounds)  # fail before any work is done
    with inputs.prepare_pass() as pass_options:
        attacks = attack_photos(
            inputs.model,
            inputs.dataset,
            sizes,
            out=arguments.out,
            classes=classes,
            labels=inputs.labels,
            target=target,
            loss=loss.value,
            pgd_steps=pgd_steps,
            show=show,
            internal_changes=internal_changes,
            seed=arguments.seed,
            strict=arguments.strict,
            command=command_line(),
            pass_options=pass_options,
        )
    show_attacks(attacks, arguments.out, json=arguments.json)
