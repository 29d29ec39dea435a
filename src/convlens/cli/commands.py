"""The commands. Each loads a model, calls one view and shows its result."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convlens.cli import options as o

if TYPE_CHECKING:
    from convlens.model import Model

app = typer.Typer(
    help="Shows what a convolutional network has learned.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def report(
    photos: o.MaybePhotos = None,
    out: o.Out = Path("convlens-report"),
    model: o.ModelSpec = "default",
    labels: o.Labels = None,
    layer: o.Layer = None,
    classes: o.Classes = None,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Make one self-contained page about a network and photos."""
    from convlens.cli import show
    from convlens.cli.inputs import find_labels, load_model
    from convlens.page import report as make
    from convlens.photos import find_photos

    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    with show.progress(quiet=quiet) as progress:
        made = make(
            loaded,
            find_photos(photos) if photos else None,
            out=out,
            labels=find_labels(labels, loaded),
            layer=layer,
            classes=classes,
            seed=seed,
            strict=strict,
            command=shlex.join(["convlens", *sys.argv[1:]]),
            progress=progress,
        )
    show.report(made, out, json=json)


@app.command()
def anatomy(
    model: o.ModelSpec = "default",
    layer: o.Layer = None,
    channel: o.Channel = None,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """List every layer that runs, with sizes, costs and receptive fields."""
    from convlens.cli import show
    from convlens.cli.inputs import load_model, split_channel
    from convlens.views.anatomy import anatomy as look

    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    found = look(loaded)
    if channel is not None:
        layer, _ = split_channel(channel, {one.name: one.output[1] for one in found.layers})
    show.anatomy(found, found.within(layer) if layer else found.layers, json=json)


@app.command()
def filters(
    out: o.Out = Path("convlens-filters"),
    model: o.ModelSpec = "default",
    layer: o.Layer = None,
    channel: o.Channel = None,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    over_time: Annotated[
        bool, typer.Option("--over-time", help="How they grew: a training's snapshots, in order.")
    ] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="The nearest Gabor functions, beside fits to noise.")
    ] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Show the filters of the first convolution, or of another, as images."""
    from convlens.cli import show
    from convlens.cli.inputs import load_model, split_channel
    from convlens.views.filters import filters as look

    if fit:
        _fit(out, load_model(model, size=size, device=device, seed=seed, quiet=quiet),
             layer=layer, seed=seed, json=json, quiet=quiet)  # fmt: skip
        return
    if over_time:
        _growth(out, model, layer=layer, device=device, json=json)
        return
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    only = None
    if channel is not None:
        name = layer or channel.rpartition(":")[0]
        found = look(loaded, layer=name)
        layer, only = split_channel(channel, {found.layer: len(found.weights)})
    found = look(loaded, layer=layer, channel=only)
    found.save(out)
    show.filters(found, out, json=json)


def _fit(
    out: Path, model: "Model", *, layer: str | None, seed: int, json: bool, quiet: bool
) -> None:
    from convlens.cli import show
    from convlens.views.likeness import likeness

    with show.waiting("fitting Gabor functions to the filters and to 5,000 of noise", quiet=quiet):
        found = likeness(model, layer=layer, seed=seed)
    found.save(out)
    show.likeness(found, out, json=json)


def _growth(out: Path, model: str, *, layer: str | None, device: str | None, json: bool) -> None:
    from convlens.cli import show
    from convlens.loading import snapshots
    from convlens.views.growth import growth as look

    grown = look(snapshots(model, device=device), layer=layer)
    grown.save(out)
    show.growth(grown, out, json=json)


@app.command()
def gradcam(
    photos: o.Photos,
    out: o.Out = Path("convlens-gradcam"),
    model: o.ModelSpec = "default",
    classes: o.Classes = None,
    top: Annotated[int, typer.Option(help="Without --class: how many of the highest.")] = 1,
    layer: o.Layer = None,
    activation: Annotated[
        o.Activation, typer.Option(help="Which side of the non-linearity.")
    ] = o.Activation.pre,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Show where the network looks: Grad-CAM, one folder a photo."""
    from convlens.cli import show
    from convlens.cli.inputs import each_image, load_model
    from convlens.files import whole_folder
    from convlens.photos import find_photos
    from convlens.views.gradcam import gradcam as look

    paths = find_photos(photos)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    table = show.GradCamTable()
    with show.progress(quiet=quiet) as progress, whole_folder(out, marker=show.NUMBERS) as folder:
        for _, name, image in each_image(loaded, paths, table.skipped, strict=strict):
            result = look(
                loaded, image, classes=classes, top=top, activation=activation.value, layer=layer
            )
            result.save(folder / name)
            table.add(name, result)
            progress("Grad-CAM", len(table.results), len(paths))
        table.write(folder)
    table.show(out, json=json)


@app.command()
def fgsm(
    photos: o.Photos,
    out: o.Out = Path("convlens-fgsm"),
    model: o.ModelSpec = "default",
    epsilon: Annotated[
        str, typer.Option(help="Largest changes, by commas; 8/255 is of the span of the bounds.")
    ] = "1/255,2/255,4/255,8/255",
    target: o.OneClass = None,
    labels: o.Labels = None,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Change photos by the fast gradient sign method, one folder a photo."""
    from convlens.cli import show
    from convlens.cli.inputs import each_image, find_labels, load_model
    from convlens.files import whole_folder
    from convlens.photos import find_photos
    from convlens.views.fgsm import fgsm as attack

    paths = find_photos(photos)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    known = find_labels(labels, loaded) or {}
    table = show.FgsmTable(loaded.labels)
    with show.progress(quiet=quiet) as progress, whole_folder(out, marker=show.NUMBERS) as folder:
        for path, name, image in each_image(loaded, paths, table.skipped, strict=strict):
            against = target if target is not None else known.get(path.name, (None,))[0]
            sizes = [one.strip() for one in epsilon.split(",")]
            result = attack(loaded, image, sizes, classes=against, seed=seed)
            result.save(folder / name)
            table.add(name, result)
            progress("FGSM", len(table.results), len(paths))
        table.write(folder)
    table.show(out, json=json)


@app.command()
def patches(
    photos: o.Photos,
    out: o.Out = Path("convlens-patches"),
    model: o.ModelSpec = "default",
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", metavar="NAME", help="May be given several times. Default: all."),
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option("--channel", metavar="LAYER:K", help="Show these channels only."),
    ] = None,
    top: Annotated[int, typer.Option(help="Patches for each channel.")] = 9,
    each: Annotated[int, typer.Option(help="At most so many of one photo.")] = 1,
    show: Annotated[int, typer.Option(help="Channels of each layer in the pictures.")] = 16,
    labels: o.Labels = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run of this command that was stopped.")
    ] = False,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Show what excites each channel most: exact crops of photos, with their proof."""
    from convlens.cli import show as shown
    from convlens.cli.inputs import channels_by_layer, find_labels, load_model, unfinished
    from convlens.labels import labels_of
    from convlens.photos import find_photos
    from convlens.sweep.patches import patches as look

    paths = find_photos(photos)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    table = find_labels(labels, loaded)
    wanted = channels_by_layer(loaded, channel or [])
    with unfinished(out, resume=resume) as folder, shown.progress(quiet=quiet) as progress:
        found = look(
            loaded,
            paths,
            layers=[*(layer or []), *(one for one in wanted if one not in (layer or []))] or None,
            top=top,
            each=each,
            show=wanted or show,
            labels=labels_of(paths, table) if table is not None else None,
            seed=seed,
            strict=strict,
            folder=folder,
            progress=progress,
        )
        found.save(out)
    shown.patches(found, out, json=json)


@app.command()
def field(
    photo: Annotated[str, typer.Argument(help="A photo.")],
    layer: Annotated[
        str, typer.Option("--layer", metavar="NAME", help="A layer, as `anatomy` names it.")
    ],
    at: Annotated[
        str | None,
        typer.Option(metavar="Y,X", help="Row and column in the layer's map. Default: its middle."),
    ] = None,
    out: o.Out = Path("convlens-field"),
    model: o.ModelSpec = "default",
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Draw the receptive field of a unit on a photo."""
    from convlens.cli import show
    from convlens.cli.inputs import load_model, parse_position
    from convlens.views.field import receptive_field

    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    position = parse_position(at) if at is not None else None
    found = receptive_field(loaded, loaded.prepare(photo), layer=layer, at=position)
    found.save(out)
    show.field(found, out, json=json)


@app.command()
def tuning(
    layer: o.Layer = None,
    orientations: Annotated[int, typer.Option(help="How many, over 180 degrees.")] = 12,
    phases: Annotated[int, typer.Option(help="Steps of the drift.")] = 16,
    out: o.Out = Path("convlens-tuning"),
    model: o.ModelSpec = "default",
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Ask what gratings make each channel fire, and which are simple or complex."""
    from convlens.cli import show
    from convlens.cli.inputs import load_model
    from convlens.views.tuning import tuning as record

    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    with show.progress(quiet=quiet) as progress:
        found = record(
            loaded,
            layer=layer,
            orientations=orientations,
            phases=phases,
            progress=lambda done, total: progress("gratings", done, total),
        )
    found.save(out)
    show.tuning(found, out, json=json)


@app.command()
def maps(
    photo: Annotated[str, typer.Argument(help="A photo.")],
    layer: o.Layer = None,
    pool: Annotated[
        str | None, typer.Option(help="max or average: the maps after pooling too.")
    ] = None,
    window: Annotated[int, typer.Option(help="Side of the pooling's windows.")] = 2,
    out: o.Out = Path("convlens-maps"),
    model: o.ModelSpec = "default",
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Show the feature maps of a layer on a photo."""
    from convlens.cli import show
    from convlens.cli.inputs import load_model
    from convlens.views.maps import maps as look

    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    found = look(loaded, loaded.prepare(photo), layer=layer, pooling=pool, window=window)
    found.save(out)
    show.maps(found, out, json=json)


@app.command()
def cortex(
    photo: Annotated[str, typer.Argument(help="A photo.")],
    orientations: Annotated[int, typer.Option(help="How many, over 180 degrees.")] = 8,
    wavelength: Annotated[float, typer.Option(help="Of the waves, in pixels.")] = 8.0,
    size: Annotated[
        str, typer.Option("--size", metavar="N|HxW", help="Of the image in pixels.")
    ] = "256",
    out: o.Out = Path("convlens-cortex"),
    json: o.Json = False,
) -> None:
    """Show a photo as simple and complex cells of the visual cortex would see it."""
    from convlens.cli import show
    from convlens.cli.inputs import parse_size
    from convlens.images import Geometry, to_tensor
    from convlens.photos import read_photo
    from convlens.views.cortex import cortex as look

    height, width = parse_size(size)
    geometry = Geometry(size=(height, width), resize=max(height, width), interpolation="bicubic")
    image = to_tensor(geometry.apply(read_photo(photo).picture))
    found = look(image, orientations=orientations, wavelength=wavelength)
    found.save(out)
    show.cortex(found, out, json=json)


@app.command()
def doctor(
    photos: o.Photos,
    model: o.ModelSpec = "default",
    labels: o.Labels = None,
    size: o.Size = None,
    device: o.Device = None,
    seed: o.Seed = 0,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Ask whether the network would read these photos better if they were fed otherwise."""
    from convlens.cli import show
    from convlens.cli.inputs import find_labels, load_model
    from convlens.labels import labels_of
    from convlens.photos import find_photos
    from convlens.views.doctor import doctor as examine

    paths = find_photos(photos)
    loaded = load_model(model, size=size, device=device, seed=seed, quiet=quiet)
    table = find_labels(labels, loaded)
    with show.progress(quiet=quiet) as progress:
        found = examine(
            loaded,
            paths,
            labels=labels_of(paths, table) if table is not None else None,
            strict=strict,
            progress=lambda done, total: progress("readings", done, total),
        )
    show.doctor(found, json=json)


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
        bool | None, typer.Option(help="Random mirroring. Default: colour images only.")
    ] = None,
    erase: Annotated[float | None, typer.Option(help="Probability that a part is erased.")] = None,
    validation: Annotated[
        float, typer.Option(help="Share to hold out where the data holds out none.")
    ] = 0.1,
    snapshots: Annotated[
        int, typer.Option(help="Weights kept along the way, for filters --over-time.")
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
    """Train a network on labelled images; stopped, the same command goes on."""
    from convlens.cli import show
    from convlens.cli.inputs import parse_size
    from convlens.training import train as fit

    with show.progress(quiet=quiet) as progress:
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
            say=show.saying(quiet=quiet),
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
            snapshots=snapshots,
        )
    show.training(trained, out, json=json)


@app.command()
def models(
    containing: Annotated[
        str, typer.Argument(metavar="[TEXT]", help="Only names that hold this text.")
    ] = "",
    json: o.Json = False,
) -> None:
    """List the networks that can be loaded by name."""
    from convlens.cli import show
    from convlens.loading import known_models

    known = {
        form: [name for name in names if containing.casefold() in name.casefold()]
        for form, names in known_models().items()
    }
    show.models(known, containing, json=json)
