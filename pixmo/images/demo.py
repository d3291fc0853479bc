"""Images for a first look: photographs that come with scikit-image and scikit-learn, and four drawn scenes."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pixmo.images.demo_scenes import SCENES
from pixmo.images.sources import FileAt, Item, Made, Meta

if TYPE_CHECKING:
    from pixmo.database import Database
    from pixmo.images.ingest import Report
    from pixmo.storage import Storage

_SKIMAGE = ("skimage", "data")
_SKLEARN = ("sklearn", "datasets/images")


@dataclass(frozen=True)
class _Photograph:
    package: str
    folder: str
    file: str
    topic: str
    licence: str
    attribution: str
    source_url: str | None = None


# What the packages say of each image: the docstrings of `skimage.data`, the README in scikit-learn's folder of images.
# Images of which they say nothing are left out.
_PHOTOGRAPHS = (
    _Photograph(*_SKIMAGE, "astronaut.png", "people", "public domain", "NASA", "https://flic.kr/p/r9qvLn"),
    _Photograph(*_SKIMAGE, "chelsea.png", "animals", "CC0-1.0", "Stefan van der Walt"),
    _Photograph(*_SKIMAGE, "coffee.png", "food", "CC0-1.0", "Rachel Michetti, courtesy of Pikolo Espresso Bar"),
    _Photograph(
        *_SKIMAGE, "coins.png", "objects", "no known copyright restrictions", "Brooklyn Museum Collection",
        "https://www.brooklynmuseum.org/opencollection/archives/image/51611",
    ),
    _Photograph(
        *_SKIMAGE, "rocket.jpg", "vehicles", "public domain", "SpaceX",
        "https://www.flickr.com/photos/spacexphotos/16511594820/",
    ),
    _Photograph(
        *_SKIMAGE, "hubble_deep_field.jpg", "space", "public domain", "NASA, Hubble eXtreme Deep Field",
        "http://hubblesite.org/newscenter/archive/releases/2012/37/image/a/",
    ),
    _Photograph(*_SKIMAGE, "camera.png", "people", "CC0-1.0", "Lav Varshney"),
    _Photograph(
        *_SKIMAGE, "text.png", "text", "public domain", "Wikimedia Commons, Corner.png",
        "https://en.wikipedia.org/wiki/File:Corner.png",
    ),
    _Photograph(
        *_SKLEARN, "china.jpg", "places", "CC-BY-2.0", "danielbuechele, Flickr",
        "https://www.flickr.com/photos/danielbuechele/6061409035/",
    ),
    _Photograph(
        *_SKLEARN, "flower.jpg", "plants", "CC-BY-2.0", "vultilion, Flickr",
        "https://www.flickr.com/photos/vultilion/6056698931/",
    ),
)  # fmt: skip
_SCENE_TOPICS = {"room": "interiors", "street": "places", "poster": "text", "beach": "places"}


def demo_images() -> Iterator[Item]:
    """The demo images, photographs first. Those of a package that is not installed are left out."""
    for photograph in _PHOTOGRAPHS:
        found = find_spec(photograph.package)
        if found is None or not found.submodule_search_locations:
            continue
        path = Path(found.submodule_search_locations[0], photograph.folder, photograph.file)
        meta = Meta(photograph.topic, photograph.licence, photograph.attribution, photograph.source_url)
        yield Item(f"demo:{photograph.file}", photograph.file, FileAt(str(path)), meta)
    for name, draw in SCENES.items():
        meta = Meta(_SCENE_TOPICS[name], "CC0-1.0", "pixmo")
        yield Item(f"demo:{name}.png", f"{name}.png", Made(draw), meta)


def load_demo_images(db: "Database", storage: "Storage") -> "Report":
    """Take the demo images into a store; those that it has already are not read again."""
    from pixmo.images.ingest import add_images
    from pixmo.images.sources import Single

    return add_images(db, storage, [Single(demo_images())])
