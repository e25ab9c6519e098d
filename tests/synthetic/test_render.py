"""Synthetic scenes: the same numbers give the same street, at any size, with exact labels."""

import numpy as np
import pytest

from segdata.errors import SettingsError
from segdata.labels.classes import ClassTable
from segdata.synthetic import render_scene
from segdata.synthetic.kinds import KINDS
from segdata.synthetic.label_ids import cityscapes_instances, class_ids, kind_ids, vistas_instances
from segdata.synthetic.write_cityscapes import train_ids


def test_same_numbers_give_the_same_scene():
    first, second = (render_scene(7, 3, (64, 128)) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.things, second.things)
    assert first.kinds == second.kinds


def test_seed_and_index_are_not_added():
    assert not np.array_equal(render_scene(1, 2, (64, 128)).things, render_scene(2, 1, (64, 128)).things)


@pytest.mark.parametrize("size", [(16, 16), (64, 128), (97, 131), (300, 200)])
def test_any_size(size):
    scene = render_scene(0, 1, size)
    assert scene.image.shape == (*size, 3)
    assert scene.image.dtype == np.uint8
    assert scene.things.shape == size
    assert scene.things.min() >= 0
    assert scene.things.max() < len(scene.kinds)


def test_the_same_street_at_two_sizes():
    small, large = (class_ids(render_scene(4, 0, size), "cityscapes") for size in ((64, 128), (128, 256)))
    assert (large[::2, ::2] == small).mean() > 0.85


def test_all_19_classes_come_in_16_scenes():
    seen = {value for index in range(16) for value in np.unique(_train_ids(3, index)).tolist()}
    assert seen == {*range(19), 255}


def _train_ids(seed, index):
    return train_ids(class_ids(render_scene(seed, index, (96, 192)), "cityscapes"))


def test_sky_stands_above_the_road():
    ids = _train_ids(5, 2)
    rows = [np.nonzero(ids == class_id)[0].mean() for class_id in (10, 0)]
    assert rows[0] < 48 < rows[1]


def test_the_image_tells_classes_apart():
    scene = render_scene(5, 2, (96, 192))
    ids = class_ids(scene, "cityscapes")
    sky, road = (scene.image[ids == class_id].mean(axis=0) for class_id in (23, 7))
    assert np.abs(sky - road).max() > 20


@pytest.mark.parametrize("table", ["vistas-v1.2", "vistas-v2.0", "cityscapes"])
def test_every_kind_has_a_class_in_every_table(table):
    assert kind_ids(table).keys() == KINDS.keys()


def test_a_tram_is_a_train_in_cityscapes_and_on_rails_in_vistas():
    ids = [kind_ids(table)["tram"] for table in ("vistas-v1.2", "vistas-v2.0", "cityscapes")]
    assert ids == [58, 111, 31]


@pytest.mark.parametrize("table", ["vistas-v1.2", "vistas-v2.0"])
def test_vistas_instances_hold_the_class(table):
    scene = render_scene(3, 0, (96, 192))
    assert np.array_equal(vistas_instances(scene, table) // 256, class_ids(scene, table))


def test_cars_are_counted_from_0_without_gaps():
    scene = render_scene(3, 0, (192, 384))
    instances = vistas_instances(scene, "vistas-v1.2")
    cars = np.unique(instances[instances // 256 == 55] % 256)
    assert len(cars) > 1
    assert cars.tolist() == [*range(len(cars))]


def test_cityscapes_instances_hold_the_class():
    scene = render_scene(3, 0, (96, 192))
    instances = cityscapes_instances(scene)
    assert np.array_equal(np.where(instances > 999, instances // 1000, instances), class_ids(scene, "cityscapes"))


def test_more_people_walk_where_more_are_asked_for():
    person = ClassTable.load("cityscapes").find("person").train_id

    def pixels(people_factor: float) -> int:
        scenes = [render_scene(1, n, (96, 192), people_factor=people_factor) for n in range(4)]
        return sum(np.count_nonzero(train_ids(class_ids(scene, "cityscapes")) == person) for scene in scenes)

    none, usual, many = pixels(0), pixels(1), pixels(4)
    assert none == 0
    assert many > 2 * usual > 0
    with pytest.raises(SettingsError, match=r"people_factor -1\. Numbers from 0 on"):
        render_scene(0, 0, (64, 128), people_factor=-1)


@pytest.mark.parametrize(("seed", "index", "size"), [(-1, 0, (64, 128)), (0, -1, (64, 128)), (0, 0, (15, 128))])
def test_impossible_numbers_are_refused(seed, index, size):
    with pytest.raises(SettingsError, match="Numbers from 0 on and at least 16x16"):
        render_scene(seed, index, size)
