"""How little changes its answer."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import app


@app.command()
def fgsm(
    photos: o.PhotosOrTables,
    out: o.Out = Path("convlens-fgsm"),
    model: o.ModelSpec = "default",
    epsilon: Annotated[
        str, typer.Option(help="Largest changes, by commas; 8/255 is of the span of the bounds.")
    ] = "1/255,2/255,4/255,8/255",
    against: o.OneClass = None,
    target: o.Target = None,
    loss: Annotated[
        str, typer.Option(help="What grows: cross-entropy, or margin for over-confident networks.")
    ] = "cross-entropy",
    labels: o.Labels = None,
    pgd: Annotated[int, typer.Option("--pgd", help="Steps of PGD beside the curve; 0: none.")] = 10,
    show: Annotated[int, typer.Option(help="Photos with a folder of pictures of their own.")] = 16,
    internals: Annotated[
        bool,
        typer.Option(
            "--internal-changes", help="Also what the largest changes inside, and Grad-CAM of it."
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
    """Change photos by the fast gradient sign method; over several, accuracy against epsilon."""
    from convlens.analyses.attacks.dataset_pass import robustness
    from convlens.analyses.attacks.fgsm import epsilon_sizes
    from convlens.analyses.attacks.fgsm import fgsm as attack
    from convlens.analyses.attacks.flip import find_flip
    from convlens.analyses.attacks.internal_changes import internal_changes
    from convlens.cli import terminal
    from convlens.cli.inputs import (
        answers_of,
        each_image,
        engine_of,
        find_dataset,
        find_labels,
        load_model,
        started,
        unfinished,
    )
    from convlens.cli.show import photos as shown
    from convlens.cli.show.photos import NUMBERS
    from convlens.files import atomic_folder
    from convlens.page.budget import spread
    from convlens.passes.options import PassOptions

    dataset = find_dataset(photos, column=column)
    runner, device = engine_of(engine, address=address, actors=actors, device=device)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    sizes = [one.strip() for one in epsilon.split(",")]
    epsilon_sizes(sizes, loaded.bounds)  # what is misspelt is told before any work
    known = answers_of(dataset, find_labels(labels, loaded))
    table = shown.FgsmTable(loaded.labels)
    # The curve asks whether answers stay right, which another class says nothing about.
    several = len(dataset) > 1 and against is None and target is None
    with (
        unfinished(out, resume=resume, marker=NUMBERS) as kept,
        started(runner, quiet=quiet),
        terminal.progress(quiet=quiet) as progress,
        atomic_folder(out, marker=NUMBERS) as folder,
    ):
        if several:
            curve = robustness(
                loaded,
                dataset,
                sizes,
                labels=known,
                loss=loss,
                steps=pgd,
                seed=seed,
                strict=strict,
                pass_options=PassOptions(engine=runner, resume_folder=kept, progress=progress),
            )
            curve.save(folder / "curve")
            table.draw(curve, of=len(dataset))
        chosen = spread(range(len(dataset)), max(show, 0) if several else len(dataset))
        for number, name, image in each_image(
            loaded, dataset, chosen, table.skipped, strict=strict
        ):
            right = ((known and known[number]) or (None,))[0]
            result = attack(
                loaded,
                image,
                sizes,
                classes=against,
                labels=[right] if right is not None and against is None and not target else None,
                target=target,
                loss=loss,
                seed=seed,
            )
            result.save(folder / name)
            table.add(name, result)
            if target is None:
                turned = find_flip(loaded, result, seed=seed)
                turned.save(folder / name / "flip")
                table.flip(name, turned)
            if internals:
                told = internal_changes(loaded, result, seed=seed)
                told.save(folder / name / "internal-changes")
                table.look(name, told)
            progress("photos", len(table.results), len(chosen))
        table.write(folder)
    table.show(out, json=json)
