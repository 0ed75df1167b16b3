"""The packages of the distribution; everything else is in pyproject.toml.

The folders datasets/, deeplab/ and tools/ are installed inside feelvos_tf, so that no other
package's name is taken. Sub-packages are found, not listed.
"""

import setuptools

FOLDERS = {
  'feelvos_tf': 'feelvos_tf',
  'feelvos_tf.datasets': 'datasets',
  'feelvos_tf.deeplab': 'deeplab',
  'feelvos_tf.tools': 'tools',
}

setuptools.setup(
  packages=[
    name
    for package, folder in FOLDERS.items()
    for name in [package, *(f'{package}.{inner}' for inner in setuptools.find_packages(folder))]
  ],
  package_dir=FOLDERS,
)
