"""What can stand in a synthetic scene, and what the three class tables call it.

A scene is drawn in these kinds, finer than any one table, so each table's label image is a look-up: none is converted
from another, and a mapping under test can be held against the truth.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of thing.

    Attributes
    ----------
    vistas_v1_2, vistas_v2_0 : str
        Its readable class name in Mapillary Vistas.
    cityscapes : str
        Its class name in Cityscapes.
    counted : bool
        Whether each thing is an instance of its own.
    grain : float
        Strength of the surface noise, as a fraction of the brightness.
    """

    vistas_v1_2: str
    vistas_v2_0: str
    cityscapes: str
    counted: bool = False
    grain: float = 0.04


def _same(vistas: str, cityscapes: str, *, counted: bool = False, grain: float = 0.04) -> Kind:
    """Return a kind that both Vistas versions call by one name."""
    return Kind(vistas, vistas, cityscapes, counted, grain)


KINDS: dict[str, Kind] = {
    "sky": _same("Sky", "sky", grain=0.008),
    "mountain": _same("Mountain", "terrain", grain=0.05),
    "far trees": _same("Vegetation", "vegetation", grain=0.16),
    "skyline": _same("Building", "building"),
    "terrain": _same("Terrain", "terrain", grain=0.17),
    "road": _same("Road", "road", grain=0.085),
    "bike lane": _same("Bike Lane", "road", grain=0.07),
    "parking": _same("Parking", "parking", grain=0.08),
    "pavement": _same("Sidewalk", "sidewalk", grain=0.08),
    "curb": _same("Curb", "sidewalk", grain=0.06),
    "curb cut": _same("Curb Cut", "sidewalk", grain=0.06),
    "rail track": _same("Rail Track", "rail track", grain=0.1),
    "plain crossing": _same("Crosswalk - Plain", "road", counted=True, grain=0.07),
    "dashed line": Kind("Lane Marking - General", "Lane Marking - Dashed Line", "road", grain=0.09),
    "solid line": Kind("Lane Marking - General", "Lane Marking - Straight Line", "road", grain=0.09),
    "stop line": Kind("Lane Marking - General", "Lane Marking - Stop Line", "road", counted=True, grain=0.09),
    "arrow": Kind("Lane Marking - General", "Lane Marking - Arrow (Straight)", "road", counted=True, grain=0.09),
    "zebra": Kind("Lane Marking - Crosswalk", "Lane Marking - Crosswalk", "road", counted=True, grain=0.09),
    "manhole": _same("Manhole", "road", counted=True),
    "catch basin": _same("Catch Basin", "road", counted=True),
    "building": _same("Building", "building", grain=0.05),
    "wall": _same("Wall", "wall", grain=0.1),
    "fence": _same("Fence", "fence"),
    "guard rail": _same("Guard Rail", "guard rail"),
    "vegetation": _same("Vegetation", "vegetation", grain=0.12),
    "pole": _same("Pole", "pole", counted=True),
    "utility pole": _same("Utility Pole", "pole", counted=True),
    "sign frame": _same("Traffic Sign Frame", "pole", counted=True),
    "street light": _same("Street Light", "static", counted=True),
    "traffic light": Kind("Traffic Light", "Traffic Light - General (Upright)", "traffic light", counted=True),
    "walkers' light": Kind("Traffic Light", "Traffic Light - Pedestrians", "traffic light", counted=True),
    "traffic sign": _same("Traffic Sign (Front)", "traffic sign", counted=True, grain=0.015),
    "direction sign": Kind(
        "Traffic Sign (Front)", "Traffic Sign - Direction (Front)", "traffic sign", counted=True, grain=0.015
    ),
    "sign back": Kind("Traffic Sign (Back)", "Traffic Sign (Back)", "static", counted=True, grain=0.02),
    "billboard": Kind("Billboard", "Signage - Advertisement", "static", counted=True, grain=0.02),
    "shop sign": Kind("Billboard", "Signage - Store", "building", counted=True, grain=0.02),
    "bench": _same("Bench", "static", counted=True),
    "bin": _same("Trash Can", "static", counted=True),
    "hydrant": _same("Fire Hydrant", "static", counted=True),
    "junction box": _same("Junction Box", "static", counted=True),
    "mailbox": _same("Mailbox", "static", counted=True),
    "bike rack": _same("Bike Rack", "static", counted=True),
    "person": _same("Person", "person", counted=True),
    "cyclist": _same("Bicyclist", "rider", counted=True),
    "motorcyclist": _same("Motorcyclist", "rider", counted=True),
    "bird": _same("Bird", "dynamic", counted=True),
    "dog": _same("Ground Animal", "dynamic", counted=True),
    "car": _same("Car", "car", counted=True, grain=0.025),
    "truck": _same("Truck", "truck", counted=True, grain=0.03),
    "bus": _same("Bus", "bus", counted=True, grain=0.025),
    "tram": Kind("On Rails", "On Rails", "train", counted=True, grain=0.025),
    "trailer": _same("Trailer", "trailer", counted=True),
    "caravan": _same("Caravan", "caravan", counted=True),
    "motorcycle": _same("Motorcycle", "motorcycle", counted=True),
    "bicycle": _same("Bicycle", "bicycle", counted=True),
    "ego vehicle": _same("Ego Vehicle", "ego vehicle", grain=0.01),
    "car mount": _same("Car Mount", "ego vehicle"),
}
