"""What an explorer finds out about a model on its first photos while the start page is open."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass

from convlens.analyses.attacks.fgsm import fgsm
from convlens.analyses.gradcam.deletion_insertion import DeletionInsertion, deletion_insertion
from convlens.analyses.gradcam.gradcam import gradcam
from convlens.analyses.gradcam.map_checks import count_map_checks
from convlens.analyses.patches.dataset_pass import tabulate_patches
from convlens.analyses.preprocessing_check.preprocessing_check import check_preprocessing
from convlens.data.sampling import spread
from convlens.errors import ConvlensError
from convlens.explorer.comparison import find_right_classes
from convlens.explorer.network import SIDE
from convlens.explorer.photo_store import StoredPhoto
from convlens.explorer.session import MOST_SEARCHED, Session
from convlens.explorer.worker import Job
from convlens.passes.options import PassOptions
from convlens.passes.proportion import Proportion
from convlens.results.reproduction import Reproduction
from convlens.wording import capitalized, counted, enumerated, interval

_PHOTOS = 8  # each of which runs some dozens of times
_LAYERS = 8  # whose channels are counted
_EPSILON = "1/255"
_LINKS = 4  # photos or layers that a finding leads to


@dataclass(frozen=True)
class PhotoFinding:
    """What an analysis of the first photos says about a model.

    Attributes:
        mark: "fine", "look", "broken", or another word of a mark.
        sentence: the finding, without a full stop.
        links: names and addresses of the pages of what it is about.
        reproduction: how to compute it again.
    """

    mark: str
    sentence: str
    links: Sequence[tuple[str, str]]
    reproduction: Reproduction


@dataclass(frozen=True)
class Finder:
    """An analysis whose finding the start page shows.

    Attributes:
        name: its name.
        description: what it finds out, in words.
        photos: number of photos at most.
        find: computes the finding on photos. It is given the name of the computation.
    """

    name: str
    description: str
    photos: int
    find: Callable[[Session, list[StoredPhoto], Hashable], Awaitable[PhotoFinding]]

    def key(self, session: Session) -> Hashable:
        """The key of the computation in the worker, which has its progress."""
        return session.job_key(self._name(session.photos.files(self.photos)))

    async def compute(self, session: Session) -> PhotoFinding:
        """The finding on the first photos that are files.

        Raises:
            ConvlensError: no photo is a file, or the analysis does not apply to the model.
        """
        photos = session.photos.files(self.photos)
        if not photos:
            raise ConvlensError("no photo is a file; start convlens explore with some PHOTOS")
        return await self.find(session, photos, self._name(photos))

    def _name(self, photos: Sequence[StoredPhoto]) -> Hashable:
        return (self.name, tuple(photo.key for photo in photos))


async def _check_preprocessing(
    session: Session, photos: list[StoredPhoto], name: Hashable
) -> PhotoFinding:
    """Whether the model would do better with another preprocessing."""
    paths = [photo.file_name for photo in photos]
    right = [await find_right_classes(session, photo) for photo in photos]
    labels = right if any(right) else None
    diagnosis = await session.compute(
        name,
        lambda job: check_preprocessing(session.model, paths, labels=labels, progress=job.report),
    )
    words = [] if labels is not None else ["doctor", *paths]
    argument = f", labels={labels}" if labels is not None else ""
    return PhotoFinding(
        {"fine": "fine", "mistake": "wrong"}.get(diagnosis.verdict, "not tested"),
        f"preprocessing, on {counted(diagnosis.photos, 'photo')}: {diagnosis.reason}",
        (),
        session.reproducer.reproduction(
            words, f"convlens.check_preprocessing(model, {paths}{argument})"
        ),
    )


async def _measure_robustness(
    session: Session, photos: list[StoredPhoto], name: Hashable
) -> PhotoFinding:
    """How many predictions change by one gray level of FGSM, and of random signs."""
    paths = [photo.file_name for photo in photos]
    attack = await session.compute(
        name, lambda _: fgsm(session.model, paths, _EPSILON, seed=session.seed)
    )
    assert attack.flipped is not None and attack.noise_flipped is not None  # as it was scored
    changed, count = attack.flipped[0].tolist(), len(photos)
    by_noise = int(attack.noise_flipped[0].sum())
    share = Proportion.from_counts(sum(changed), count)
    mark = "fine" if not share.count else "broken" if 2 * by_noise >= count else "look"
    sentence = (
        f"changing every pixel by one gray level (FGSM) changes {share.count} of "
        f"{counted(count, 'prediction')} ({interval(share.low, share.high)}); random changes of "
        f"the same size change {by_noise}"
    )
    sentence += "".join(f". {capitalized(each.message)}" for each in attack.diagnostics)
    links = [
        (photo.name, session.addresses.photo(photo.key, overlay="epsilon", level="1"))
        for photo, is_changed in zip(photos, changed, strict=True)
        if is_changed
    ]
    return PhotoFinding(
        mark, sentence, links[:_LINKS],
        session.reproducer.reproduction(
            ["fgsm", *paths, "--epsilons", _EPSILON],
            f"convlens.fgsm(model, {paths}, {_EPSILON!r}{session.seed_argument})",
        ),
    )  # fmt: skip


async def _check_explanations(
    session: Session, photos: list[StoredPhoto], name: Hashable
) -> PhotoFinding:
    """On how many photos Grad-CAM of the prediction beats its controls."""
    paths = [photo.file_name for photo in photos]

    def check(job: Job) -> list[DeletionInsertion]:
        curves = []
        for number, path in enumerate(paths):
            job.report(number, len(paths))
            cam = gradcam(session.model, path)
            curves.append(deletion_insertion(session.model, cam, seed=session.seed))
        return curves

    curves = await session.compute(name, check)
    checks = count_map_checks(dict(enumerate(curves)))
    links = [
        (photos[number].name, session.addresses.photo(photos[number].key, overlay="gradcam"))
        for number in checks.failing
    ]
    call = (
        f"[\n    convlens.deletion_insertion(model, convlens.gradcam(model, photo)"
        f"{session.seed_argument})\n    for photo in {paths}\n]"
    )
    return PhotoFinding(
        checks.mark, checks.describe("Grad-CAM map"), links[:_LINKS],
        session.reproducer.reproduction(["gradcam", *paths, "--deletion-insertion"], call),
    )  # fmt: skip


async def _count_dead_channels(
    session: Session, photos: list[StoredPhoto], name: Hashable
) -> PhotoFinding:
    """How many channels after a non-linearity never fire, in layers spread over the network."""
    paths = [photo.file_name for photo in photos]
    rows = (await session.network()).with_maps
    # Elsewhere 0 is no threshold.
    after = [row.name for row in rows if row.source is not None and row.source.post]
    if not after:
        raise ConvlensError("no layer is read after a non-linearity")
    names = spread(after, _LAYERS)
    result = await session.compute(
        name,
        lambda job: tabulate_patches(
            session.model, paths, layers=names, side=SIDE, top=1, seed=session.seed,
            pass_options=PassOptions(progress=lambda _, done, total: job.report(done, total)),
        ),
    )  # fmt: skip
    layers = result.layers
    channels = sum(layer.channels for layer in layers)
    dead = sorted((layer for layer in layers if layer.dead), key=lambda layer: -len(layer.dead))
    photos_read = counted(result.images_read, "photo")
    if dead:
        parts = [f"{len(layer.dead)} of {layer.channels} of {layer.layer}" for layer in dead]
        total = sum(len(layer.dead) for layer in dead)
        verb = "fires" if total == 1 else "fire"
        sentence = (
            f"{total:,} of {counted(channels, 'channel')} of {counted(len(layers), 'layer')} never "
            f"{verb} on {photos_read} ({enumerated(parts, 3)})"
        )
    else:
        sentence = (
            f"every channel fires somewhere on {photos_read} ({counted(channels, 'channel')} of "
            f"{counted(len(layers), 'layer')})"
        )
    return PhotoFinding(
        "look" if dead else "fine", sentence,
        [(layer.layer, session.addresses.layer(layer.layer, order="fired"))
         for layer in dead[:_LINKS]],
        session.reproducer.reproduction(
            [
                "patches", *paths, *(word for layer in names for word in ("--layer", layer)),
                "--top", "1", "--show", "0",
            ],
            f"convlens.patches(model, {paths}, layers={names}, top=1, show=0"
            f"{session.seed_argument})",
        ),
    )  # fmt: skip


FINDERS = (
    Finder("preprocessing", "check of the preprocessing", _PHOTOS, _check_preprocessing),
    Finder("robustness", "robustness to small changes", _PHOTOS, _measure_robustness),
    Finder("explanation", "check of the Grad-CAM maps", _PHOTOS, _check_explanations),
    Finder("channels", "channels that never fire", MOST_SEARCHED, _count_dead_channels),
)
