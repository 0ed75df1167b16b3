"""Options of the DeepLabv3+ network, and the presets people mean by a variant's name."""

from collections.abc import Iterable, Mapping
import contextlib
import dataclasses
import types
import typing
from typing import Any, Literal, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
  from typing_extensions import Self


ModelVariant = Literal[
  'xception_41',
  'xception_65',
  'xception_71',
  'mobilenet_v2',
  'resnet_v1_50_beta',
  'resnet_v1_101_beta',
]
MODEL_VARIANTS = typing.get_args(ModelVariant)

# DeepLabv3+ (arXiv 1802.02611), section 4: rates for output stride 16, doubled for 8.
ATROUS_RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}

# How messages call one value of a type, and several.
_IN_WORDS = {
  int: ('a whole number', 'whole numbers'),
  float: ('a number', 'numbers'),
  bool: ('True or False', 'True or False'),
  str: ('a text', 'texts'),
  type(None): ('None', 'None'),
}


def check_types(options: Any, kind: type) -> None:
  """Brings the values of a dataclass to the types of its fields, or refuses them.

  Lists and arrays become tuples; numbers of NumPy, and 3.0 for 3, those of Python, as JSON takes
  them. A text as 'False' would count as true, and one as '15' fail where it is compared.

  Args:
    options: the dataclass, in its `__post_init__`.
    kind: its class or a base class, whose fields are looked at.

  Raises:
    ValueError: a value of another type.
  """
  for name, hint in typing.get_type_hints(kind).items():
    value = getattr(options, name)
    try:
      object.__setattr__(options, name, _fitted(value, hint))
    except TypeError:
      raise ValueError(f'{name} is {value!r}; expected {_in_words(hint)}.') from None


def _fitted(value: Any, hint: Any) -> Any:
  """A value as one of a type; raises TypeError if it is none."""
  origin, parts = typing.get_origin(hint), typing.get_args(hint)
  if isinstance(value, np.generic):
    value = value.item()
  if origin in (typing.Union, types.UnionType):
    for part in parts:
      with contextlib.suppress(TypeError):
        return _fitted(value, part)
  elif origin is Literal:
    if value in parts:
      return value
  elif origin is tuple:
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
      return tuple(_fitted(item, parts[0]) for item in value)
  elif hint is bool:
    if isinstance(value, (int, float)) and value in (0, 1):
      return bool(value)
  elif hint in (int, float):
    if isinstance(value, (int, float)) and not isinstance(value, bool):
      if hint is float:
        return value
      if value == value // 1:
        return int(value)
  elif isinstance(value, hint):
    return value
  raise TypeError(hint)


def _in_words(hint: Any) -> str:
  parts = typing.get_args(hint)
  if typing.get_origin(hint) in (typing.Union, types.UnionType):
    return ' or '.join(map(_in_words, parts))
  if typing.get_origin(hint) is Literal:
    return f'one of {", ".join(parts)}'
  if typing.get_origin(hint) is tuple:
    return f'a tuple of {_IN_WORDS[parts[0]][1]}'
  return _IN_WORDS[hint][0] if hint in _IN_WORDS else hint.__name__


@dataclasses.dataclass(frozen=True)
class JsonOptions:
  """Base of option dataclasses that travel in files as JSON."""

  def to_dict(self) -> dict:
    """Returns the options as a JSON-ready dict; `from_dict` reads it."""
    return dataclasses.asdict(self)

  @classmethod
  def from_dict(cls, values: dict) -> 'Self':
    """Returns the options of a dict made by `to_dict`.

    Raises:
      ValueError: the dict has a key this version does not know, or a value that is refused.
    """
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
      raise ValueError(
        f'unknown option(s) {", ".join(unknown)}; the file may be from a newer version.'
      )
    return cls(**values)


@dataclasses.dataclass(frozen=True)
class ModelOptions(JsonOptions):
  """Options that decide the shape of the network; the original's `common.ModelOptions`.

  Raises:
    ValueError: an option has a value the network cannot be built with.
  """

  # Backbone.
  model_variant: ModelVariant = 'xception_65'
  # Input size over feature size of the encoder: 8, 16 or 32.
  output_stride: int = 16
  # Rates of the 3x3 branches of ASPP; default: the usual ones of the output stride.
  #
  # None takes ATROUS_RATES[output_stride], () has no branch.
  atrous_rates: tuple[int, ...] | None = None
  # Extra rates of the three units (ResNet block4) or convolutions (Xception exit_flow/block2)
  # of the last block.
  multi_grid: tuple[int, int, int] | None = None
  # Width multiplier; MobileNetV2 only.
  depth_multiplier: float = 1.0
  # ASPP's branch with the mean over the whole image.
  add_image_level_feature: bool = True
  # Depthwise separable 3x3 convolutions in ASPP.
  aspp_with_separable_conv: bool = True
  # Depthwise separable 3x3 convolutions in the decoder.
  decoder_use_separable_conv: bool = True
  # Stride of the decoder's output: 4.
  #
  # None leaves the decoder out.
  decoder_output_stride: int | None = 4
  # Number of semantic classes; 0 has no semantic logits.
  num_classes: int = 0
  # Update batch norm's statistics in training. The original's default is to freeze them.
  fine_tune_batch_norm: bool = False

  def __post_init__(self) -> None:
    check_types(self, ModelOptions)
    if self.output_stride not in ATROUS_RATES:
      raise ValueError(f'output_stride is {self.output_stride}; expected 8, 16 or 32.')
    rates = ATROUS_RATES[self.output_stride] if self.atrous_rates is None else self.atrous_rates
    object.__setattr__(self, 'atrous_rates', rates)
    if any(rate < 1 for rate in rates):
      raise ValueError(f'atrous_rates are {self.atrous_rates}; every rate has to be at least 1.')
    if self.multi_grid is not None:
      if len(self.multi_grid) != 3:
        raise ValueError(f'multi_grid is {self.multi_grid}; expected three rates.')
      if self.model_variant == 'mobilenet_v2':
        raise ValueError('multi_grid is not defined for mobilenet_v2; leave it None.')
    if self.depth_multiplier <= 0:
      raise ValueError(f'depth_multiplier is {self.depth_multiplier}; expected more than 0.')
    if self.depth_multiplier != 1.0 and self.model_variant != 'mobilenet_v2':
      raise ValueError(
        f'depth_multiplier is {self.depth_multiplier}; only mobilenet_v2 takes one other than 1.'
      )
    if self.decoder_output_stride not in (None, 4):
      raise ValueError(
        f'decoder_output_stride is {self.decoder_output_stride}; expected 4 or None.'
      )
    if self.num_classes < 0:
      raise ValueError(f'num_classes is {self.num_classes}; expected 0 or more.')
