"""From video files, frame folders and public datasets to training triplets."""

if __name__ == 'datasets':  # Its name in version 0.1, in a checkout: one module must not be two.
  import feelvos_tf  # noqa: F401 (knows the old names)

  __path__.clear()
