"""The order of a scene: fills a street with things, and puts them in the order in which they are drawn."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from segdata.synthetic import buildings, furniture, people, plants, vehicles
from segdata.synthetic.camera import Frame, Points
from segdata.synthetic.canvas import Canvas
from segdata.synthetic.street import Street

Draw = Callable[[Canvas, np.random.Generator], None]


@dataclass(frozen=True)
class Thing:
    """Something that can be drawn, `distance` meters away; nearer things are drawn later."""

    distance: float
    draw: Draw


def compose(street: Street, rng: np.random.Generator, people_factor: float = 1.0) -> list[Thing]:
    """Return everything that stands on a street, the farthest first."""
    things = [*_borders(street, rng), *_greenery(street, rng), *_furniture(street, rng)]
    things += [*_parked(street, rng), *_traffic(street, rng), *_walkers(street, rng, people_factor)]
    return sorted(things, key=lambda thing: -thing.distance)


def _at(street: Street, draw: Callable[[Canvas, Frame, np.random.Generator], None], across: float, z: float,
        turned: float = 0.0) -> Thing:  # fmt: skip
    """Place a thing on the street."""
    frame = street.frame(across, z, turned)

    def drawn(canvas: Canvas, rng: np.random.Generator) -> None:
        draw(canvas, frame, rng)

    return Thing(z, drawn)


def _borders(street: Street, rng: np.random.Generator) -> Iterator[Thing]:
    """Line both edges of the street with buildings, walls, fences, rails or hedges."""
    for sign in (-1, 1):
        border = street.side(sign).border
        if border == "rail":
            yield from _segments(street, sign, buildings.draw_guard_rail, 1.0, 120.0, 8.0)
            continue
        z = float(rng.uniform(-6, 3))
        while z < 190:
            length = float(rng.uniform(9, 22))
            yield from _border_piece(street, sign, border, z, z + length, rng)
            z += length + float(rng.choice([0.0, 0.0, rng.uniform(2, 7)]))


def _border_piece(
    street: Street, sign: int, border: str, z0: float, z1: float, rng: np.random.Generator
) -> Iterator[Thing]:
    """Build one piece of a street's edge, unless another street passes there."""
    if street.in_junction(z0, 2.0) or street.in_junction(z1, 2.0) or street.in_junction((z0 + z1) / 2, 2.0):
        return
    if rng.random() < 0.12:  # no street is all of one kind
        border = str(rng.choice(["wall", "fence", "hedge"]))
    if border in ("houses", "blocks"):
        yield Thing(z1, partial(_building, street=street, sign=sign, z0=max(z0, 0.9), z1=z1))
    elif border == "wall":
        yield from _segments(street, sign, buildings.draw_wall, z0, z1, z1 - z0)
    elif border == "fence":
        yield from _segments(street, sign, buildings.draw_fence, z0, z1, 6.0)
    elif border == "hedge":
        for start in np.arange(max(z0, 2.5), z1, 5.0).tolist():
            frame = street.frame(sign * (street.border(sign) + 0.7), start)
            yield Thing(start + 4, partial(_hedge, frame=frame))


def _building(canvas: Canvas, rng: np.random.Generator, *, street: Street, sign: int, z0: float, z1: float) -> None:
    """Draw a building (as `functools.partial` takes it)."""
    buildings.draw_building(canvas, street, sign, z0, z1, rng)


def _hedge(canvas: Canvas, rng: np.random.Generator, *, frame: Frame) -> None:
    """Draw five meters of hedge."""
    plants.draw_hedge(canvas, frame, 5.0, rng)


def _wires(canvas: Canvas, rng: np.random.Generator, *, ends: Points) -> None:
    """Draw the wires between two poles."""
    furniture.draw_wires(canvas, ends, rng)


def _segments(
    street: Street,
    sign: int,
    draw: Callable[[Canvas, Street, int, float, float, np.random.Generator], None],
    z0: float,
    z1: float,
    step: float,
) -> Iterator[Thing]:
    """Cut a long low thing into pieces that are drawn in the order of their distance, all with the same look."""
    look = (int(abs(z0) * 1000), sign + 1)

    def piece(canvas: Canvas, _: np.random.Generator, *, start: float, end: float) -> None:
        draw(canvas, street, sign, start, end, np.random.default_rng(look))

    for start in np.arange(max(z0, 0.9), z1, step).tolist():
        end = min(start + step, z1)
        if end - start > 0.3:
            yield Thing(end, partial(piece, start=start, end=end))


def _greenery(street: Street, rng: np.random.Generator) -> Iterator[Thing]:
    """Plant trees along the curbs and bushes and trees beyond the edges."""
    for sign in (-1, 1):
        side = street.side(sign)
        curb = street.curb(sign)
        if side.trees:
            across = sign * (curb + (side.verge / 2 + 0.2 if side.verge else 0.9))
            for z in np.arange(rng.uniform(4, 14), 130, side.trees).tolist():
                if not street.in_junction(z, 3.0) and rng.random() < 0.88:
                    yield _at(street, plants.draw_tree, across, z)
        open_edge = side.border in ("open", "rail", "fence", "hedge", "wall")
        for _ in range(rng.integers(10, 26) if open_edge else rng.integers(0, 3)):
            z = 6 + 110 * float(rng.random())
            out = sign * (street.border(sign) + 2.0 + 16 * float(rng.random()) ** 1.5)
            plant = plants.draw_tree if rng.random() < 0.7 else plants.draw_bush
            # beyond walls and houses: drawn before what stands at the street's edge at the same distance
            yield Thing(z + 8, _at(street, plant, out, z).draw)


def _furniture(street: Street, rng: np.random.Generator) -> Iterator[Thing]:
    """Set up poles, lights, signs and clutter along the curbs."""
    for sign in (-1, 1):
        stand = sign * (street.curb(sign) + 0.55)
        wired = rng.random() < 0.2
        row = furniture.draw_utility_pole if wired else furniture.draw_lamp_post
        places = np.arange(rng.uniform(6, 22), 140, rng.uniform(18, 32))
        for z in places.tolist():
            yield _at(street, row, stand, z)
        for span in np.lib.stride_tricks.sliding_window_view(places, 2) if wired else ():
            yield Thing(float(span[0]) + 0.1, partial(_wires, ends=street.along(stand, span)))
        for _ in range(rng.poisson(2.2 if sign > 0 else 1.2)):
            yield _at(street, furniture.draw_traffic_sign, stand, 5 + 60 * float(rng.random()) ** 1.3)
        if rng.random() < 0.2:
            yield _at(street, furniture.draw_direction_sign, sign * (street.curb(sign) + 1.7), rng.uniform(16, 48))
        if rng.random() < 0.22:
            yield _at(street, furniture.draw_billboard, sign * (street.border(sign) - 0.5), rng.uniform(14, 50))
        for _ in range(rng.poisson(1.3) if street.side(sign).pavement else 0):
            yield _at(street, furniture.draw_clutter, sign * (street.border(sign) - 0.5), rng.uniform(6, 40))
        if street.side(sign).pavement and rng.random() < 0.25:
            for z in np.arange(rng.uniform(5, 9), 24, 1.8).tolist():
                yield _at(street, furniture.draw_bollard, sign * (street.curb(sign) + 0.4), z)
        if street.zebra is not None and rng.random() < 0.8:
            yield _at(street, furniture.draw_traffic_light, stand, street.zebra - 0.6)
        if street.junction is not None:
            yield _at(street, furniture.draw_traffic_light, stand, street.junction + 6.5)


def _parked(street: Street, rng: np.random.Generator) -> Iterator[Thing]:
    """Park cars, and now and then something else, along the curbs; lean bicycles and motorcycles on the pavement."""
    for sign in (-1, 1):
        side = street.side(sign)
        if side.parking:
            across, z = sign * (street.curb(sign) - 1.1), float(rng.uniform(4, 10))
            while z < 120:
                if rng.random() < 0.72 and not street.in_junction(z, 5.0):
                    yield _at(street, _parked_thing(rng), across, z, 0.0 if sign > 0 else np.pi)
                z += float(rng.uniform(5.4, 6.6))
        if side.pavement:
            for draw, rate in ((people.draw_bicycle, 1.1), (people.draw_motorcycle, 0.6)):
                for _ in range(rng.poisson(rate)):
                    turned = float(rng.choice([0.0, np.pi / 2])) + float(rng.normal(0, 0.25))
                    yield _at(street, draw, sign * (street.curb(sign) + 0.9), 4.5 + 30 * rng.random() ** 1.4, turned)


def _parked_thing(rng: np.random.Generator) -> Callable[[Canvas, Frame, np.random.Generator], None]:
    """Return how to draw what stands in a parking place."""
    kinds = (vehicles.draw_car, vehicles.draw_trailer, vehicles.draw_caravan)
    return kinds[rng.choice(len(kinds), p=(0.975, 0.015, 0.01))]


_TRAFFIC = (
    (vehicles.draw_car, 0.68),
    (vehicles.draw_truck, 0.08),
    (vehicles.draw_bus, 0.07),
    (people.draw_motorcyclist, 0.07),
    (people.draw_cyclist, 0.1),
)


def _traffic(street: Street, rng: np.random.Generator) -> Iterator[Thing]:
    """Send vehicles along the lanes, apart from one another, and riders along the curbs."""
    base = 3.2 if street.tram else 0.0
    for sign in (-1, 1):
        for lane in range(street.lanes):
            across = sign * (base + (lane + 0.5) * street.lane)
            z = float(rng.uniform(9, 40))
            while z < 150:
                draw = _TRAFFIC[rng.choice(len(_TRAFFIC), p=[share for _, share in _TRAFFIC])][0]
                turned = 0.0 if sign > 0 else np.pi
                yield _at(street, draw, across + float(rng.normal(0, 0.2)), z, turned + float(rng.normal(0, 0.03)))
                z += float(rng.uniform(13, 46))
        for _ in range(rng.poisson(0.8)):
            across = sign * (street.half + (street.side(sign).cycling / 2 or -0.6))
            yield _at(street, people.draw_cyclist, across, rng.uniform(6, 40), 0.0 if sign > 0 else np.pi)
    if street.tram and rng.random() < 0.75:
        sign = int(rng.choice([-1, 1]))
        yield _at(street, vehicles.draw_tram, sign * 1.55, rng.uniform(24, 60), 0.0 if sign > 0 else np.pi)
    if street.junction is not None:
        for _ in range(rng.poisson(1.0)):
            turned = float(rng.choice([-1.0, 1.0])) * np.pi / 2
            z = street.junction - 2.2 * np.sign(turned)
            draw = (vehicles.draw_car, vehicles.draw_truck, people.draw_cyclist)[rng.choice(3, p=(0.6, 0.15, 0.25))]
            yield _at(street, draw, rng.uniform(-14, 14), z, turned)


def _walkers(street: Street, rng: np.random.Generator, people_factor: float) -> Iterator[Thing]:
    """Let people walk on the pavements, alone or in twos and threes, and over the crosswalk."""
    for sign in (-1, 1):
        if not street.side(sign).pavement:
            continue
        inner, outer = street.curb(sign) + 0.6 + street.side(sign).verge, street.border(sign) - 0.3
        for _ in range(rng.poisson(3.2 * people_factor)):
            z, across = 5 + 50 * float(rng.random()) ** 1.5, float(rng.uniform(inner, max(inner + 0.1, outer)))
            for _ in range(rng.choice(3, p=(0.62, 0.28, 0.1)) + 1):
                yield _at(street, people.draw_person, sign * across, z)
                across, z = across + float(rng.uniform(-0.8, 0.8)), z + float(rng.uniform(-0.5, 0.5))
        if rng.random() < 0.08:
            yield _at(street, people.draw_dog, sign * inner, rng.uniform(7, 20))
    if street.zebra is not None:
        for _ in range(rng.poisson(1.5 * people_factor)):
            across = rng.uniform(-street.curb(-1), street.curb(1))
            yield _at(street, people.draw_person, across, street.zebra + rng.uniform(0.4, 2.8))
    if rng.random() < 0.15:
        for _ in range(rng.integers(1, 6)):
            yield _at(street, people.draw_bird, rng.uniform(-12, 12), rng.uniform(18, 40))
