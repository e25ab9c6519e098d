"""The plan of a street: how wide its parts are, how it bends, what lines it."""

from dataclasses import dataclass

import numpy as np

from segdata.synthetic.camera import Frame, Points

REACH = 260.0  # meters; the street is drawn to here


@dataclass(frozen=True)
class Side:
    """One side of the street, from the curb outwards; widths in meters.

    Attributes
    ----------
    parking, cycling, verge, pavement : float
        Width of the parked cars' strip and the bike lane (both on the road's side of the curb), of the planted verge
        and of the pavement (both beyond it); 0 where there is none.
    border : str
        What stands along the outer edge: ``houses``, ``blocks``, ``wall``, ``fence``, ``rail``, ``hedge``, ``open``.
    trees : float
        Meters between trees along the curb, 0 for none.
    """

    parking: float
    cycling: float
    verge: float
    pavement: float
    border: str
    trees: float


@dataclass(frozen=True)
class Street:
    """A street with two sides, left (-1) and right (+1) of its middle line.

    Attributes
    ----------
    lanes : int
        Lanes in each direction.
    lane : float
        Width of a lane, meters.
    left, right : Side
        What lies beyond the lanes.
    seat : float
        The camera's place right of the middle line, meters.
    yaw, bend : float
        The middle line at z is at x = -seat + yaw z + bend z^2.
    junction : float or None
        Distance of a crossing street.
    zebra : float or None
        Distance of a crosswalk.
    tram : bool
        Whether rails run in the middle.
    """

    lanes: int
    lane: float
    left: Side
    right: Side
    seat: float
    yaw: float
    bend: float
    junction: float | None
    zebra: float | None
    tram: bool

    @property
    def half(self) -> float:
        """Half the width of the driving lanes, meters."""
        return self.lanes * self.lane + (3.2 if self.tram else 0.0)

    def side(self, sign: int) -> Side:
        """Return the left (-1) or right (+1) side."""
        return self.left if sign < 0 else self.right

    def curb(self, sign: int) -> float:
        """Return the curb's distance from the middle line, meters, unsigned."""
        return self.half + self.side(sign).parking + self.side(sign).cycling

    def border(self, sign: int) -> float:
        """Return the distance of the outer edge from the middle line, meters, unsigned."""
        return self.curb(sign) + 0.2 + self.side(sign).verge + self.side(sign).pavement

    def middle(self, z: float | Points) -> float | Points:
        """Return x of the middle line at z."""
        return -self.seat + self.yaw * z + self.bend * z * z

    def frame(self, across: float, z: float, turned: float = 0.0) -> Frame:
        """Return the axes of a thing `across` meters right of the middle line that heads along the street."""
        heading = float(np.arctan(self.yaw + 2 * self.bend * z)) + turned
        return Frame((float(self.middle(z)) + across, 0.0, z), heading)

    def along(self, across: float, z: Points, y: float = 0.0) -> Points:
        """Return the (N, 3) points of a line along the street."""
        return np.stack([self.middle(z) + across, np.full_like(z, y), z], axis=-1)

    def in_junction(self, z: float, margin: float = 0.0) -> bool:
        """Say whether z lies in the crossing street."""
        return self.junction is not None and abs(z - self.junction) < 6.0 + margin


@dataclass(frozen=True)
class _Style:
    """How often a sort of street comes, its lanes, the chances of verge, parking and bike lane, what lines it."""

    share: float
    lanes: tuple[int, int]
    verge: float
    parking: float
    cycling: float
    borders: dict[str, float]


_STYLES = {
    "town": _Style(0.34, (1, 1), 0.25, 0.75, 0.3, {"houses": 6, "blocks": 3, "wall": 1, "hedge": 0.6}),
    "city": _Style(0.28, (1, 2), 0.2, 0.55, 0.35, {"blocks": 7, "houses": 2, "fence": 0.7, "wall": 0.5}),
    "suburb": _Style(0.24, (1, 1), 0.7, 0.4, 0.2, {"houses": 3, "fence": 2.5, "hedge": 2, "wall": 1.3, "open": 1}),
    "trunk road": _Style(0.14, (2, 2), 1.0, 0.0, 0.0, {"rail": 3, "wall": 2, "open": 2, "fence": 1}),
}


def plan_street(rng: np.random.Generator) -> Street:
    """Draw a street."""
    names = list(_STYLES)
    style = names[rng.choice(len(names), p=[_STYLES[name].share for name in names])]
    low, high = _STYLES[style].lanes
    lanes = int(rng.integers(low, high + 1))
    tram = style == "city" and rng.random() < 0.4
    lane = float(rng.uniform(3.0, 3.5))
    seat = (3.2 if tram else 0) + lane * (rng.integers(lanes) + 0.5) + rng.normal(0, 0.25)
    crossing = style != "trunk road"
    junction = float(rng.uniform(24, 70)) if crossing and rng.random() < 0.5 else None
    zebra = float(rng.uniform(9, 34)) if crossing and rng.random() < 0.45 else None
    return Street(
        lanes=lanes,
        lane=lane,
        left=_plan_side(rng, style),
        right=_plan_side(rng, style),
        seat=float(seat),
        yaw=float(rng.normal(0, 0.035)),
        bend=float(rng.normal(0, 0.0005)),
        junction=junction,
        zebra=junction - 8.5 if junction is not None else zebra,
        tram=tram,
    )


def _plan_side(rng: np.random.Generator, name: str) -> Side:
    """Draw what lies along one side."""
    style = _STYLES[name]
    weights = np.array(list(style.borders.values()))
    border = str(rng.choice(list(style.borders), p=weights / weights.sum()))
    has_verge = rng.random() < style.verge
    return Side(
        parking=2.3 if rng.random() < style.parking else 0.0,
        cycling=1.7 if rng.random() < style.cycling else 0.0,
        verge=float(rng.uniform(1.2, 4.5)) if has_verge else 0.0,
        pavement=float(rng.uniform(1.8, 4.2)) if name != "trunk road" else 0.0,
        border=border,
        trees=float(rng.uniform(7, 16)) if rng.random() < (0.8 if has_verge else 0.45) else 0.0,
    )
