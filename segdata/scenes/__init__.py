"""Made street scenes: pictures with exact labels, for the demo, the tests and first experiments.

`render_scene` draws one, `write_vistas` and `write_cityscapes` write data sets of them.
"""

from segdata.scenes.render import MadeScene, render_scene
from segdata.scenes.write_cityscapes import write_cityscapes
from segdata.scenes.write_vistas import write_vistas

__all__ = ["MadeScene", "render_scene", "write_cityscapes", "write_vistas"]
