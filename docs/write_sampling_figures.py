"""Draw the figures of docs/sampling.md.

Run: python docs/write_sampling_figures.py
"""

import tempfile
from pathlib import Path

from segdata.batch.runners import BatchSettings
from segdata.config.mixture import preset_sources
from segdata.config.recipe import AugmentationRecipe
from segdata.data.crop_dataset import CropDataset
from segdata.data.crops import CropReader
from segdata.data.draw_summary import epoch_as_json, summarize_epoch
from segdata.figures.class_shares import epoch_figure
from segdata.figures.drawn_crops import contact_sheet
from segdata.figures.saving import save_figure
from segdata.figures.stream_draws import stream_figure
from segdata.jobs.index import plan_index
from segdata.sampling.index_builder import run_index
from segdata.sampling.sampler import MixedClassUniformSampler
from segdata.synthetic import write_cityscapes

IMAGES = Path(__file__).parent / "images"
RANKS, CROP_SIZE = 5, (256, 256)


def main() -> None:
    """Index synthetic scenes, mix them as the paper does, and draw stream, epoch and crops."""
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
        save_figure(stream_figure(ranks), IMAGES / "stream.png", fewer_colors=True)
        unscaled = AugmentationRecipe(crop=CROP_SIZE, scale=(1.0,))
        crops = CropReader(sources=tuple(sources), augmentation=unscaled)
        told = epoch_as_json(stream, summarize_epoch(stream, 0, 2975, crops))
        save_figure(epoch_figure(told), IMAGES / "epoch.png", fewer_colors=True)
        dataset, draws = CropDataset(sources, CROP_SIZE), stream.draws(0, 10).to_draws()
        sheet = contact_sheet([dataset.crop(draw) for draw in draws], draws, sources)
        save_figure(sheet, IMAGES / "crops.jpg")


if __name__ == "__main__":
    main()
