"""The train command: train a network on labeled images."""

from pathlib import Path
from typing import Annotated

import typer

from convlens.cli import checks
from convlens.cli import options as o
from convlens.cli.app import NETWORKS, app


@app.command(rich_help_panel=NETWORKS)
def train(
    data: Annotated[
        str,
        typer.Argument(
            callback=checks.check_data,
            help="A folder with one folder of photos for each class, a folder with IDX files, an "
            ".npz file, torchvision:NAME, or digits.",
        ),
    ] = "digits",
    out: o.Out = Path("convlens-run"),
    network: Annotated[
        str,
        typer.Option(
            callback=checks.check_network,
            help="allconv, lenet5, alexnet, vgg16, vgg11, vgg13, vgg19 (also _bn).",
        ),
    ] = "allconv",
    pooling: Annotated[
        o.NetworkPooling, typer.Option(help="Pooling layers of the network.")
    ] = o.NetworkPooling.max,
    center: Annotated[
        o.Center, typer.Option(help="Which mean is subtracted: of all images, or of each.")
    ] = o.Center.data,
    size: o.Size = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of times that each image is used.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images in each step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the learning rate.")] = None,
    weight_decay: Annotated[
        float | None, typer.Option(min=0, help="Weight decay, not for biases.")
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(help="Share of the target that is spread over all classes.")
    ] = None,
    shift: Annotated[
        int | None, typer.Option(min=0, help="Largest random shift in pixels.")
    ] = None,
    flip: Annotated[
        bool | None, typer.Option(help="Mirror images at random. Default: color images only.")
    ] = None,
    erase: Annotated[
        float | None, typer.Option(help="Probability that a part of an image is erased.")
    ] = None,
    validation: Annotated[
        float, typer.Option(help="Share to hold out if the data has no test part.")
    ] = 0.1,
    stream: Annotated[
        bool | None,
        typer.Option(
            help="Decode photos each time they are used. Default: only if their pixels would need "
            "more than half of the free memory."
        ),
    ] = None,
    checkpoints: Annotated[
        int, typer.Option(min=0, help="Checkpoints to keep, for filters --over-training.")
    ] = 0,
    device: Annotated[
        o.TrainingDevice,
        typer.Option(help="Device to train on; auto: an accelerator if there is one."),
    ] = o.TrainingDevice.auto,
    devices: Annotated[int, typer.Option(min=1, help="Devices on each machine.")] = 1,
    num_nodes: Annotated[int, typer.Option(min=1, help="Machines that run this command.")] = 1,
    strategy: Annotated[
        o.Strategy, typer.Option(help="How several devices share the work.")
    ] = o.Strategy.auto,
    precision: Annotated[
        str, typer.Option(help="32-true, bf16-mixed, 16-mixed, bf16-true.")
    ] = "32-true",
    log: Annotated[
        o.LogFormat, typer.Option(help="The history as a table, or tensorboard for both.")
    ] = o.LogFormat.csv,
    save_every: Annotated[
        float, typer.Option(help="Seconds between checkpoints within an epoch.")
    ] = 60.0,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Train a network on labeled images; a stopped training continues with the same command."""
    from convlens.cli import terminal
    from convlens.cli.parsing import parse_size
    from convlens.cli.show.train import show_training
    from convlens.training import train as fit

    with terminal.progress(quiet=quiet) as progress:
        trained = fit(
            data,
            out=out,
            size=parse_size(size) if size is not None else None,
            validation=validation,
            strict=strict,
            stream=stream,
            seed=seed,
            device=device.value,
            devices=devices,
            num_nodes=num_nodes,
            strategy=strategy.value,
            precision=precision,
            log=log.value,
            save_every=save_every,
            progress=progress,
            on_message=terminal.printer(quiet=quiet),
            network=network,
            pooling=pooling.value,
            center=center.value,
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
    show_training(trained, out, json=json)
