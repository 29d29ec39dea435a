"""What the search finds: layers, classes and photos with their addresses, as JSON."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from convlens.explorer.rendering import session_of
from convlens.text import printable


async def search(request: Request) -> Response:
    """All names that the search finds, by kind."""
    session = session_of(request)
    network = await session.network()
    labels, to = session.model.labels, session.addresses
    layers = [[printable(row.name), to.layer(row.name)] for row in network.with_maps]
    classes = [
        [printable(labels[index]) if labels and index < len(labels) else f"class {index}",
         to.class_page(index)]
        for index in range(network.num_classes)
    ]  # fmt: skip
    photos = [[printable(photo.name), to.photo(photo.key)] for photo in session.photos.opened()]
    photos += [
        [printable(name), to.numbered_photo(number)] for number, name in session.photos.unopened()
    ]
    return JSONResponse(
        {
            "layers": layers,
            "classes": classes,
            "photos": photos,
            "channels": [
                row.source.channels for row in network.with_maps if row.source is not None
            ],
        }
    )
