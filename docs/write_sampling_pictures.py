"""Draw the pictures of docs/sampling.md.

Run: python docs/write_sampling_pictures.py
"""

import tempfile
from pathlib import Path

from segdata.pictures.crops import contact_sheet
from segdata.pictures.sampling import epoch_figure
from segdata.pictures.saving import save_picture
from segdata.pictures.stream import stream_figure
from segdata.sampling.dataset import CropDataset
from segdata.sampling.presets import preset_sources
from segdata.sampling.sampler import MixedClassUniformSampler
from segdata.sampling.summary import LabelCrops, epoch_as_json, summarise_epoch
from segdata.scenes import write_cityscapes
from segdata.tools.batch import BatchSettings
from segdata.tools.index import plan_index, run_index

IMAGES = Path(__file__).parent / "images"
RANKS, CROP_SIZE = 5, (256, 256)


def main() -> None:
    """Index made scenes, mix them as the paper does, and draw stream, epoch and crops."""
    with tempfile.TemporaryDirectory() as temporary:
        indexes = {}
        for seed, name in enumerate(("fine", "vistas", "coarse")):
            root = Path(temporary) / name
            write_cityscapes(root, (512, 1024), train=16, val=0, seed=seed)
            _, indexes[name] = run_index(plan_index(root, root.with_suffix(".npz"), tile=256), BatchSettings())
        sources = preset_sources("seethroughnet", {name: index for name, index in indexes.items() if index})
        ranks = [
            MixedClassUniformSampler(sources, epoch_size=2975, rank=rank, num_ranks=RANKS, seed=1)
            for rank in range(RANKS)
        ]
        stream = ranks[0].stream
        save_picture(stream_figure(ranks), IMAGES / "stream.png", fewer_colours=True)
        crops = LabelCrops.unscaled(sources, CROP_SIZE, seed=0)
        told = epoch_as_json(stream, summarise_epoch(stream, 0, 2975, crops))
        save_picture(epoch_figure(told), IMAGES / "epoch.png", fewer_colours=True)
        dataset, draws = CropDataset(sources, CROP_SIZE), stream.draws(0, 10).to_draws()
        sheet = contact_sheet([dataset.crop(draw) for draw in draws], draws, sources)
        save_picture(sheet, IMAGES / "crops.jpg")


if __name__ == "__main__":
    main()
