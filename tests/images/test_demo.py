import io

import pytest
from PIL import Image as Pillow
from sqlalchemy import select

from pixmo.database import Database
from pixmo.images import demo
from pixmo.images.demo import demo_images, load_demo_images
from pixmo.images.demo_scenes import SCENES
from pixmo.images.models import Image
from pixmo.images.sources import Made
from pixmo.storage import Storage


def test_demo_images_can_be_shown_and_credited(db: Database, storage: Storage) -> None:
    report = load_demo_images(db, storage)
    assert (report.new, report.failed) == (14, 0)
    with db.read() as session:
        images = session.scalars(select(Image)).all()
        assert all(image.licence and image.attribution and image.topic for image in images)
        assert len({image.cluster_id for image in images}) == 14
    assert load_demo_images(db, storage).known == 14


def test_without_the_packages_the_scenes_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    items = list(demo_images())
    assert [item.key for item in items] == [f"demo:{name}.png" for name in SCENES]
    assert all(isinstance(item.locator, Made) for item in items)


@pytest.mark.parametrize("name", SCENES)
def test_scenes_are_the_same_each_time(name: str) -> None:
    data = SCENES[name]()
    image = Pillow.open(io.BytesIO(data))
    assert image.size == (1280, 960)
    assert len(image.convert("RGB").getcolors(maxcolors=2**20) or ()) > 50
    assert SCENES[name]() == data
