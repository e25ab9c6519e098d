"""The parts of a recipe that say how is trained: optimizer, schedule, augmentation, the run, and evaluation."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from segdata.config.section import Section
from segdata.errors import SettingsError

Size = tuple[int, int]
CompiledPart = Literal["blocks", "model"]
Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerRecipe(Section):
    """How weights follow gradients."""

    name: Literal["sgd", "adamw"] = "sgd"
    """Stochastic gradient descent, as in all of the paper's experiments; or AdamW, which learns in fewer steps from
    random weights and is usual for vision transformers. Its rate is some thirty times lower."""
    lr: float = Field(gt=0)
    """Learning rate at the start of the schedule (after the warm-up)."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Not stated in the paper; 0.9 in the code of hierarchical multi-scale attention."""
    nesterov: bool = False
    """Nesterov's form of the momentum."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Of AdamW: how much of the running mean of gradients, and of their squares, is kept per step."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decay of all weights."""
    decay_norms: bool = True
    """Decay biases and the scales of batch normalization as well."""
    head_lr_factor: float = Field(default=1.0, gt=0)
    """Factor on the learning rate of everything but the backbone."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Longest gradient over all weights; a longer one is shortened to it."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Keep an exponential moving average of the weights with this decay per step, and evaluate it too."""
    non_finite_limit: int = Field(default=10, ge=0)
    """Steps in a row that may be skipped for a loss or gradient that is not finite; one more ends the run."""


class ScheduleRecipe(Section):
    """How many images, in which batches, at which rate."""

    batch_size: int = Field(ge=1)
    """Images of all ranks together in one step of the optimizer, however many ranks there are."""
    images_per_rank: int | None = Field(default=None, ge=1)
    """Images that one rank holds at a time; `batch_size / ranks` if not given. Fewer are accumulated."""
    iterations: int | None = Field(default=None, ge=1)
    """Steps of the optimizer; either these or `epochs`."""
    epochs: int | None = Field(default=None, ge=1)
    """Epochs of `data.epoch_size` draws."""
    policy: Literal["poly"] = "poly"
    """``(lr - min_lr) * (1 - step / steps) ** power + min_lr``, per step."""
    power: float = Field(default=0.9, gt=0)
    """Exponent of the policy."""
    min_lr: float = Field(default=0.0, ge=0)
    """Where the rate ends: the policy falls from the rate at the start to this, as in mmcv."""
    warmup_iterations: int = Field(default=0, ge=0)
    """Steps over which the rate rises in a straight line from `warmup_factor` of what the policy gives."""
    warmup_factor: float = Field(default=0.1, gt=0, le=1)
    """Where the warm-up starts."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.iterations is None) == (self.epochs is None):
            raise ValueError(
                f"iterations {self.iterations}, epochs {self.epochs}: expected is one of the two. Set one to null."
            )
        return self

    def per_rank(self, num_ranks: int) -> tuple[int, int]:
        """Return the images a rank holds at a time, and how often gradients are accumulated to a step.

        Raises
        ------
        SettingsError
            If the batch cannot be distributed evenly.

        Examples
        --------
        >>> schedule = ScheduleRecipe(batch_size=16, images_per_rank=2, iterations=80_000)
        >>> schedule.per_rank(8), schedule.per_rank(1)
        ((2, 1), (2, 8))
        """
        images = self.images_per_rank or max(1, self.batch_size // num_ranks)
        accumulated, rest = divmod(self.batch_size, images * num_ranks)
        if rest or not accumulated:
            raise SettingsError(
                f"schedule.batch_size: {self.batch_size} images cannot be distributed across {num_ranks} ranks with "
                f"{images} at a time. Expected is a multiple of {images * num_ranks}. Change schedule.batch_size or "
                "schedule.images_per_rank, or start another number of ranks."
            )
        return images, accumulated

    def num_steps(self, images_per_epoch: int) -> int:
        """Return the optimizer steps of the whole run, given the draws in an epoch."""
        if self.iterations is not None:
            return self.iterations
        assert self.epochs is not None
        return max(1, self.epochs * images_per_epoch // self.batch_size)


class AugmentationRecipe(Section):
    """What happens to an image between the disk and the model."""

    crop: Size
    """(height, width) in pixels."""
    resize: Size | None = None
    """(longer, shorter) side that an image is fitted into, up or down, before `scale` [mmseg]; its own size if not
    given."""
    scale: tuple[float, ...] = Field(default=(0.5, 2.0), min_length=1)
    """Factors by which an image is scaled before it is cropped: two are the ends of a range [paper]; one, or three and
    more, are drawn with equal probability, and stored targets are exact at them."""
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    """Of scaled images: bicubic, smoothed where it scales down; or bilinear of the nearest two pixels, as OpenCV and
    MMSegmentation have it."""
    cat_max_ratio: float = Field(default=1.0, gt=0, le=1)
    """Place a crop anew, up to ten times, while one class has this part or more of its labeled pixels [mmseg]; 1 takes
    each as it comes. The pixel that was drawn stays in it."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Chance of mirroring left to right."""
    color: Literal["none", "photometric", "jitter"] = "photometric"
    """Photometric distortion as in MMSegmentation, or color jitter as in hierarchical multi-scale attention."""
    brightness: float = Field(default=0.25, ge=0, le=1)
    """Largest change of jitter's brightness; photometric distortion has its published amounts."""
    contrast: float = Field(default=0.25, ge=0, le=1)
    """Largest change of jitter's contrast."""
    saturation: float = Field(default=0.25, ge=0, le=1)
    """Largest change of jitter's saturation."""
    hue: float = Field(default=0.25, ge=0, le=0.5)
    """Largest change of jitter's hue, in turns of the color wheel."""
    blur: float = Field(default=0.0, ge=0, le=1)
    """Chance of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.15, 1.3)
    """Its standard deviation in pixels, drawn evenly between the two (0.15 + 1.15 U in that code)."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """ImageNet's mean of red, green, blue, in units of 255."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """ImageNet's standard deviation."""
    color_on: Literal["loader", "device"] = "loader"
    """Where color and blur are worked: in the loader's processes, image by image, or on the device, in batches."""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if min(self.crop) < 1:
            raise ValueError(f"crop: {self.crop} is no (height, width). Expected are two numbers above 0.")
        if self.resize is not None and not self.resize[0] >= self.resize[1] > 0:
            raise ValueError(f"resize: {self.resize} is no (longer, shorter) side. Expected are two, the longer first.")
        if min(self.scale) <= 0 or (len(self.scale) == 2 and self.scale[0] > self.scale[1]):
            raise ValueError(
                f"scale: {self.scale} is not a range. Expected are two factors above 0, the smaller first."
            )
        if len(set(self.scale)) < len(self.scale) > 2:
            raise ValueError(f"scale: {self.scale} names a factor twice. Expected is each once.")
        if not 0 < self.blur_sigma[0] <= self.blur_sigma[1]:
            raise ValueError(f"blur_sigma: {self.blur_sigma} is not a range. Expected are two, the smaller first.")
        return self


class RunRecipe(Section):
    """The machine and the log: nothing here changes what is trained, but for rounding."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model is; auto takes a GPU where there is one."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the autocast; float16 scales the loss."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of a rank's arithmetic on the CPU; torch's own choice if not given. Other numbers of threads
    add in another order: to get the same bits on another machine, fix it."""
    compile: CompiledPart | None = None
    """What torch.compile works on, besides each of the losses: the model block by block, or as a whole, which
    takes minutes before the first step."""
    cuda_graphs: bool = False
    """Record the forward and backward pass once as a CUDA graph and replay it: for one GPU that waits for its host. Its
    memory is held between the steps."""
    channels_last: bool | None = None
    """Keep weights and images in memory with the channels last. If not given, in bfloat16 and float16, where a GPU
    takes a third of the time."""
    sync_batch_norm: bool = True
    """Normalize over the batch of all ranks."""
    checkpoint_every: int = Field(default=1000, ge=1)
    """Steps between checkpoints."""
    keep_last: int = Field(default=2, ge=1)
    """Newest checkpoints that are kept, besides the best one."""
    evaluate_every: int | None = Field(default=None, ge=1)
    """Steps between evaluations; only at the end if not given."""
    log_every: int = Field(default=50, ge=1)
    """Steps between lines of the log."""
    images_every: int | None = Field(default=None, ge=1)
    """Steps between images of predictions in the log; none if not given."""
    tensorboard: bool = True
    """Write TensorBoard files where it is installed."""
    loggers: tuple[Literal["wandb", "mlflow"], ...] = ()
    """Where the figures go as well: Weights & Biases, MLflow. Each is set up by its own environment variables."""
    max_restarts: int = Field(default=3, ge=0)
    """Restarts from the last checkpoint after a worker was lost."""
    rank_timeout: float = Field(default=1800.0, gt=0)
    """Seconds that a rank waits for the others before it ends the run."""
    data_timeout: float = Field(default=600.0, gt=0)
    """Seconds that a step waits for a batch from the loader's processes before it ends the run."""
    stop_timeout: float = Field(default=120.0, gt=0)
    """Seconds from SIGTERM, SIGUSR1 or Ctrl-C to the end of the step in hand; after them the process ends at once."""

    @property
    def has_channels_last(self) -> bool:
        """Whether the channels are last in memory, as given or for the precision."""
        return self.precision != "float32" if self.channels_last is None else self.channels_last


class EvaluationRecipe(Section):
    """How a model is applied to whole images, in evaluation and prediction."""

    resize: Size | None = None
    """(longer, shorter) side that an image is fitted into first, up or down; what is predicted is brought back to the
    image's own size [mmseg]."""
    scales: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    """Factors by which the image is scaled; hmsa and seethroughnet fuse them by attention, others are averaged."""
    flip: bool = False
    """Average with the mirrored image."""
    average: Literal["probabilities", "logits"] = "probabilities"
    """What is averaged over scales and flips."""
    window: Size | None = None
    """(height, width) of a sliding window, in pixels of the image after `resize` and before `scales`; the whole image
    at once if not given."""
    stride: Size | None = None
    """Steps of the window; two thirds of it if not given."""
    batch_size: int = Field(default=1, ge=1)
    """Windows at a time; whole images go one by one."""
    limit: int | None = Field(default=None, ge=1)
    """Evaluate only so many images, evenly spread; all if not given."""
    boundary: bool = False
    """Measure boundary IoU as well."""
    boundary_width: float = Field(default=0.02, gt=0, lt=1)
    """Width of its band as part of the image's diagonal (0.02 in Cheng et al., Boundary IoU, CVPR 2021)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if min(self.scales) <= 0 or len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales: {self.scales} cannot be used. Expected are factors above 0, each once.")
        if self.window is not None and min(self.window) < 1:
            raise ValueError(f"window: {self.window} is no (height, width). Expected are two numbers above 0.")
        if self.resize is not None and not self.resize[0] >= self.resize[1] > 0:
            raise ValueError(f"resize: {self.resize} is no (longer, shorter) side. Expected are two, the longer first.")
        largest = self.window or (0, 0)
        if self.stride is not None and not all(
            0 < step <= side for step, side in zip(self.stride, largest, strict=True)
        ):
            raise ValueError(
                f"stride: {self.stride} does not fit the window {self.window}. Expected is 1 to the window."
            )
        return self
