"""Runs Cutie with random weights in a PyTorch environment, for `tools.benchmark_peers`.

  python cutie_worker.py CLONE small clip.npz

CLONE is a clone of github.com/hkchengrex/Cutie; the environment needs torch, omegaconf, einops,
pillow and numpy. Nothing of theirs is part of this project. Each line on standard input
segments CYCLE frames; the answer is a line of JSON with seconds a frame.
"""

import json
import pathlib
import sys
import time
from typing import Any

import numpy as np

# A frame goes into the memory every five frames, as in their configuration of DAVIS.
CYCLE = 5
_MEMORY_FRAMES = 5


def build(clone: str, variant: str) -> Any:
  """Their `InferenceCore` with random weights."""
  sys.path.insert(0, clone)
  from cutie.inference.inference_core import InferenceCore
  from cutie.model.cutie import CUTIE
  from cutie.model.utils import resnet
  from omegaconf import OmegaConf

  config = pathlib.Path(clone) / 'cutie' / 'config'
  settings = OmegaConf.load(config / 'eval_config.yaml')
  model = OmegaConf.load(config / 'model' / 'base.yaml')
  if variant != 'base':
    model = OmegaConf.merge(model, OmegaConf.load(config / 'model' / f'{variant}.yaml'))
  for part in ('defaults', 'hydra'):
    settings.pop(part, None)
  model.pop('defaults', None)
  settings.model = model
  settings.use_long_term, settings.mem_every = False, CYCLE
  # Weights of ImageNet would be fetched; time does not depend on them.
  resnet.model_zoo.load_url = lambda *_, **__: None
  resnet.load_weights_add_extra_dim = lambda *_, **__: None
  return InferenceCore(CUTIE(settings).eval(), settings)


def main() -> None:
  """Fills the memory, says 'ready', then answers lines until standard input ends."""
  import torch

  clone, variant, clip = sys.argv[1:]
  clip = np.load(clip)
  frames = torch.from_numpy(clip['frames']).permute(0, 3, 1, 2).float() / 255
  mask = torch.from_numpy(clip['mask'].astype(np.int64))
  objects = [int(i) for i in np.unique(clip['mask']) if i]
  core = build(clone, variant)
  place = 0

  def advance(count: int) -> None:
    nonlocal place
    for _ in range(count):
      place = (place + 1) % len(frames)
      core.step(frames[place]).argmax(0).to(torch.uint8).numpy()

  with torch.inference_mode():
    core.step(frames[0], mask, objects)
    core.mem_every = 1
    advance(_MEMORY_FRAMES)
    core.mem_every = CYCLE
    print('ready', flush=True)
    for _ in sys.stdin:
      wall, processor = time.perf_counter(), time.process_time()
      advance(CYCLE)
      taken = time.perf_counter() - wall, time.process_time() - processor
      print(json.dumps([seconds / CYCLE for seconds in taken]), flush=True)


if __name__ == '__main__':
  main()
