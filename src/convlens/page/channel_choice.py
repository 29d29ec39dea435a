"""Which layers and channels the section on channels shows."""

from convlens.data.sampling import spread
from convlens.page.inputs import Inputs
from convlens.page.photo_cards import SHARES, PhotoCards
from convlens.tracing.selection import find_channel_sources
from convlens.tracing.trace import Trace

LAYERS = 4  # beside that of the Grad-CAMs
CHANNELS = 12  # of each layer


def choose_channels(inputs: Inputs) -> dict[str, list[int]]:
    """Layers from the first convolution to the last, with their channels.

    Layers in which every unit sees the whole image are the last choice: no patch can be cut out
    there. The layer of the Grad-CAMs is added, with the channels that add most to these.

    The channels of the other layers are spread evenly and do not depend on the photos: on few
    photos, those that differ most between them hardly fire, pages of the same network can be
    compared, and a second one finds the maximized images in the disk cache.
    """
    sources = find_channel_sources(inputs.trace, None)
    local = [source for source in sources if sees_a_part(inputs.trace, source.node)]
    candidates = [source for source in local if source.post] or local or list(sources)
    # The last of each of so many stretches of the network: what is furthest along.
    count = min(LAYERS, len(candidates))
    layers = [candidates[(at + 1) * len(candidates) // count - 1] for at in range(count)]
    show = {layer.layer: spread(range(layer.channels), CHANNELS) for layer in layers}
    cards = inputs.result("photos", PhotoCards)
    detector, channels = find_explained_channels(cards) if cards is not None else (None, [])
    if detector is not None:
        node = find_channel_sources(inputs.trace, [detector])[0].node
        same = [
            source.layer
            for source in find_channel_sources(inputs.trace, list(show))
            if source.node == node
        ]
        show[same[0] if same else detector] = channels
    return show


def find_explained_channels(cards: PhotoCards) -> tuple[str | None, list[int]]:
    """The layer of the Grad-CAMs and its channels that add most to the first map of each photo."""
    explained = [card for card in cards.cards if card.gradcam is not None and any(card.shares)]
    if not explained or explained[0].gradcam is None:
        return None, []
    first = [card.shares[0] for card in explained]
    # Each photo's first channel before any photo's second.
    ranked = [share[at].channel for at in range(SHARES) for share in first if at < len(share)]
    return explained[0].gradcam.channel_layer, list(dict.fromkeys(ranked))[:CHANNELS]


def sees_a_part(model_trace: Trace, node: int) -> bool:
    """Whether a middle unit sees less than the whole image."""
    field = model_trace.field(node)
    if field is None or field.sees_whole_image:
        return False
    extents = (
        int((field.high[axis] - field.low[axis]).max()) + 1 < model_trace.image_size[axis]
        for axis in (0, 1)
    )
    return any(extents)
