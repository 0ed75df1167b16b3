"""Disks of a few pages that get full or read-only, for one process and its children.

They are tmpfs in a mount namespace of the process, so nothing stays of them when it ends. Others
see their files under /proc/<process>/root.
"""

import ctypes
import os
import pathlib

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_READ_ONLY, _REMOUNT, _RECURSIVE, _PRIVATE = 1, 32, 1 << 14, 1 << 18


def separate():
  """Leaves the mounts of all other processes, before threads start; False if that is forbidden.

  Users other than root become root of a namespace of their own, where the system lets them.
  """
  libc = ctypes.CDLL(None, use_errno=True)
  user, group = os.geteuid(), os.getegid()
  if libc.unshare(_NEWNS | (_NEWUSER if user else 0)):
    return False
  if user:
    for name, text in (
      ('setgroups', 'deny'),
      ('uid_map', f'0 {user} 1'),
      ('gid_map', f'0 {group} 1'),
    ):
      pathlib.Path('/proc/self', name).write_text(text)
  return not libc.mount(None, b'/', None, _RECURSIVE | _PRIVATE, None)


def mount(folder, size, read_only=False):
  """Mounts a disk of `size` bytes over a folder, or changes the one that is there."""
  os.makedirs(folder, exist_ok=True)
  flags = _READ_ONLY * read_only + _REMOUNT * os.path.ismount(folder)
  libc = ctypes.CDLL(None, use_errno=True)
  if libc.mount(b'tmpfs', os.fsencode(folder), b'tmpfs', flags, f'size={size}'.encode()):
    raise OSError(ctypes.get_errno(), 'mount', folder)


def unmount(folder):
  """Takes the disk away with all files on it, if there is one."""
  if os.path.ismount(folder) and ctypes.CDLL(None, use_errno=True).umount(os.fsencode(folder)):
    raise OSError(ctypes.get_errno(), 'umount', folder)
