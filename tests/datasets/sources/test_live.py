"""Live sources: a pipe and a stream from a local ffmpeg, and one that comes too fast."""

import shutil
import socket
import subprocess
import time

import numpy as np
import pytest

from feelvos_tf.datasets.sources import live

SIZE = (48, 64)
FFMPEG = shutil.which('ffmpeg')
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason='no ffmpeg on this machine')


def source(count, *output, real_time=False):
  """A process of ffmpeg that sends frames whose grey value is their number, times 10."""
  pace = ['-re'] if real_time else []
  picture = f'nullsrc=s={SIZE[1]}x{SIZE[0]}:r=25,geq=lum=10*N+16:cb=128:cr=128'
  return subprocess.Popen(
    [FFMPEG, '-v', 'error', *pace, '-f', 'lavfi', '-i', picture, '-frames:v', str(count)]
    + ['-c:v', 'ffv1' if 'nut' in output else 'mpeg2video', '-q:v', '2', *output],
    stdout=subprocess.PIPE,
    stdin=subprocess.DEVNULL,
  )


def test_which_inputs_are_live():
  assert all(live.is_live(text) for text in ('-', '0', '2', 'rtsp://cam/1', 'udp://:5000'))
  assert not any(live.is_live(text) for text in ('clip.mp4', '0.mp4', 'http://host/a.mp4', './0'))


@needs_ffmpeg
@pytest.mark.parametrize('take', ['auto', 'latest'])
def test_a_pipe(monkeypatch, take):
  """It waits, so all frames are taken; the latest of them if that is asked for."""
  with source(20, '-f', 'nut', '-') as process:
    monkeypatch.setattr(live.sys, 'stdin', type('Stdin', (), {'buffer': process.stdout}))
    video = live.LiveVideo('-', take)
    assert video.frame_size == SIZE and video.fps == 25 and video.live
    means, waiting, expected = [], 0, None
    for image in video.frames():
      assert expected is None or image is expected
      means.append(image.mean())
      time.sleep(0.2 if take == 'latest' else 0.02)
      expected = video.waiting()
      waiting += expected is not None
  assert means == sorted(means)
  assert len(means) + video.left_out_frames == 20
  if take == 'auto':
    assert 10 < waiting < 20 and video.waiting() is None
    assert len(means) == 20 and float(video.frame_time(19)) == pytest.approx(19 / 25, abs=0.01)
  else:
    assert len(means) < 20 and not waiting
  with pytest.raises(ValueError, match='pipe: a live source can be read once'):
    next(video.frames())


@needs_ffmpeg
def test_a_stream_over_the_network():
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = probe.getsockname()[1]
  address = f'tcp://127.0.0.1:{port}'
  with source(30, '-f', 'mpegts', f'{address}?listen=1', real_time=True) as process:
    for _ in range(100):  # Until it listens.
      try:
        video = live.LiveVideo(address)
        break
      except ValueError:
        time.sleep(0.1)
    images = list(video.frames())
    process.wait(30)
  assert 5 <= len(images) <= 30
  assert images[0].shape == (*SIZE, 3)
  assert np.mean(images[-1]) > np.mean(images[0])


def test_what_is_refused(monkeypatch, tmp_path):
  with pytest.raises(ValueError, match='camera99: cannot be read'):
    live.LiveVideo('99')
  with pytest.raises(ValueError, match=r'127.0.0.1:9: cannot be read .*; expected a camera'):
    live.LiveVideo('tcp://user:secret@127.0.0.1:9')
  (tmp_path / 'text').write_text('no video')
  with open(tmp_path / 'text', 'rb') as stream:
    monkeypatch.setattr(live.sys, 'stdin', type('Stdin', (), {'buffer': stream}))
    with pytest.raises(ValueError, match='pipe: cannot be read'):
      live.LiveVideo('-')
