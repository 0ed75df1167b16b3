"""Options of reading a given mask, and the mask with what to say about it."""

import dataclasses

from feelvos_tf.datasets import masks

# What messages say is read.
FORMS = 'a picture (palette, grey or few colours), COCO or labelme JSON, CVAT XML or YOLO text'


@dataclasses.dataclass(frozen=True)
class MaskOptions:
  """How a given mask is read.

  Raises:
    ValueError: a threshold outside of 0..255.
  """

  # Grey from here on is the object, the only one: a share of white (0.5) or a level (128).
  threshold: float | None = None
  # Resize a mask of another size and the same proportions, by nearest neighbour.
  resize: bool = False
  # What 255 is next to other ids: 'auto' (void where it is a thin line along objects), 'object',
  # 'void'.
  value_255: str = 'auto'
  # (height, width) of a video's stored pixels where they are not square: a mask of this size is
  # stretched as the frames are.
  stored_size: tuple[int, int] | None = None

  def __post_init__(self) -> None:
    if self.threshold is not None and not 0 < self.threshold <= 255:
      raise ValueError(
        f'threshold is {self.threshold:g}; expected a share of white such as 0.5 or a level 1..255'
      )


@dataclasses.dataclass
class GivenMask:
  """A mask and what there is to say about it.

  Attributes:
    mask: `masks.Mask`; every id but 0 is an object.
    names: {id: where it comes from} if the ids are not the file's own values.
    hints: sentences about what is probably not meant.
    keys: {id: what tells the object on other frames} of ids that follow from places in the file,
      and of those that it gives itself and that other frames may not be able to give.
    own_ids: those of `keys` that the file gives itself.
  """

  mask: masks.Mask
  names: dict[int, str] = dataclasses.field(default_factory=dict)
  hints: list[str] = dataclasses.field(default_factory=list)
  keys: dict[int, str] = dataclasses.field(default_factory=dict)
  own_ids: frozenset[int] = frozenset()
