"""Synthetic street scenes: images with exact labels, for the demo, the tests and first experiments.

`render_scene` draws one, `write_vistas` and `write_cityscapes` write data sets of them.
"""

from segdata.synthetic.render import MadeScene, render_scene
from segdata.synthetic.write_cityscapes import write_cityscapes
from segdata.synthetic.write_vistas import write_vistas

__all__ = ["MadeScene", "render_scene", "write_cityscapes", "write_vistas"]
