"""Training."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import options as o
from convlens.cli.app import app


@app.command()
def train(
    data: Annotated[
        str,
        typer.Argument(
            help="A folder with one folder of photos for each class, a folder with IDX files, an "
            ".npz file, torchvision:NAME, or digits."
        ),
    ] = "digits",
    out: o.Out = Path("convlens-run"),
    network: Annotated[
        str, typer.Option(help="allconv, lenet5, alexnet, vgg16, vgg11, vgg13, vgg19 (also _bn).")
    ] = "allconv",
    pooling: Annotated[str, typer.Option(help="max, average or blur.")] = "max",
    center: Annotated[
        str, typer.Option(help="Mean that is subtracted: of the data, or of each image.")
    ] = "data",
    size: o.Size = None,
    epochs: Annotated[int | None, typer.Option(help="Times that each image is seen.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images for each step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The greatest.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Of weights, not of biases.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="Share of the target.")] = None,
    shift: Annotated[int | None, typer.Option(help="Random shift, at most so many pixels.")] = None,
    flip: Annotated[
        bool | None, typer.Option(help="Random mirroring. Default: color images only.")
    ] = None,
    erase: Annotated[float | None, typer.Option(help="Probability that a part is erased.")] = None,
    validation: Annotated[
        float, typer.Option(help="Share to hold out where the data holds out none.")
    ] = 0.1,
    checkpoints: Annotated[
        int, typer.Option(help="Weights kept along the way, for filters --over-training.")
    ] = 0,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, mps.")
    ] = "auto",
    devices: Annotated[int, typer.Option(help="How many on each machine.")] = 1,
    num_nodes: Annotated[int, typer.Option(help="Machines that run this command.")] = 1,
    strategy: Annotated[str, typer.Option(help="For several devices: auto or ddp.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="32-true, bf16-mixed, 16-mixed, bf16-true.")
    ] = "32-true",
    log: Annotated[str, typer.Option(help="csv, or tensorboard beside it.")] = "csv",
    save_every: Annotated[
        float, typer.Option(help="Seconds between saves within an epoch.")
    ] = 60.0,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Train a network on labeled images; stopped, the same command goes on."""
    from convlens.cli import terminal
    from convlens.cli.inputs import parse_size
    from convlens.cli.show import train as show
    from convlens.training import train as fit

    with terminal.progress(quiet=quiet) as progress:
        trained = fit(
            data,
            out=out,
            size=parse_size(size) if size is not None else None,
            validation=validation,
            strict=strict,
            seed=seed,
            device=device,
            devices=devices,
            num_nodes=num_nodes,
            strategy=strategy,
            precision=precision,
            log=log,
            save_every=save_every,
            progress=progress,
            say=terminal.saying(quiet=quiet),
            network=network,
            pooling=pooling,
            center=center,
            epochs=epochs,
            batch=batch,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            label_smoothing=label_smoothing,
            shift=shift,
            flip=flip,
            erase=erase,
            checkpoints=checkpoints,
        )
    show.training(trained, out, json=json)
