"""The fgsm command: adversarial images, accuracy against epsilon, and the smallest flip."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import PREDICTIONS, app


@app.command(rich_help_panel=PREDICTIONS)
def fgsm(
    photos: o.PhotosOrTables,
    out: o.Out = Path("convlens-fgsm"),
    model: o.ModelSpec = "default",
    epsilon: Annotated[
        str,
        typer.Option(
            help="The largest change of a pixel, several separated by commas. 8/255 is a fraction "
            "of the span of the bounds, 0.1 is in image units."
        ),
    ] = "1/255,2/255,4/255,8/255",
    classes: o.OneClass = None,
    target: o.Target = None,
    loss: Annotated[
        str,
        typer.Option(help="The loss: cross-entropy, or margin for over-confident networks."),
    ] = "cross-entropy",
    labels: o.Labels = None,
    pgd: Annotated[
        int, typer.Option("--pgd", help="Steps of PGD in the curve; 0 leaves PGD out.")
    ] = 10,
    show: Annotated[int, typer.Option(help="Number of photos with pictures of their own.")] = 16,
    internal_changes: Annotated[
        bool,
        typer.Option(
            "--internal-changes",
            help="Also list the channels that the largest epsilon changes most, with Grad-CAM.",
        ),
    ] = False,
    column: o.Column = None,
    engine: o.EngineName = o.Engine.local,
    address: o.Address = None,
    actors: o.Actors = None,
    resume: o.Resume = False,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Attack photos by the fast gradient sign method; over several, plot accuracy against epsilon.

    For each photo it also finds the smallest change in gray levels that flips the prediction. In
    Python: convlens.attack_photos.
    """
    from convlens.analyses.attacks.epsilon import parse_epsilons
    from convlens.analyses.attacks.photo_attacks import NUMBERS, attack_photos
    from convlens.cli import terminal
    from convlens.cli.inputs import (
        choose_engine,
        find_dataset,
        load_model,
        match_labels,
        read_label_table,
        resumable_folder,
        running_engine,
    )
    from convlens.cli.show.fgsm import show_attacks
    from convlens.passes.options import PassOptions

    dataset = find_dataset(photos, column=column)
    runner, device = choose_engine(engine, address=address, actors=actors, device=device)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    epsilons = [text.strip() for text in epsilon.split(",")]
    parse_epsilons(epsilons, loaded.bounds)  # fail before any work is done
    right = match_labels(dataset, read_label_table(labels, loaded))
    with (
        resumable_folder(out, resume=resume, marker=NUMBERS) as folder,
        running_engine(runner, quiet=quiet),
        terminal.progress(quiet=quiet) as progress,
    ):
        attacks = attack_photos(
            loaded,
            dataset,
            epsilons,
            out=out,
            classes=classes,
            labels=right,
            target=target,
            loss=loss,
            steps=pgd,
            show=show,
            internal_changes=internal_changes,
            seed=seed,
            strict=strict,
            pass_options=PassOptions(engine=runner, resume_folder=folder, progress=progress),
        )
    show_attacks(attacks, out, json=json)
