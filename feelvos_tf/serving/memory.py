"""Memory that is free in this process, handed back to the system."""

import ctypes


def hand_back() -> bool:
  """Gives back what the allocator keeps for later, as glibc does only at the end of its heaps.

  A large request leaves hundreds of megabytes that way, scattered over the heaps of threads.

  Returns:
    Whether anything was given back; False where the C library has no such function.
  """
  trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
  return bool(trim and trim(0))
