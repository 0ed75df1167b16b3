"""Names in a record: those of the original's SequenceExamples, and what was added to them.

The original's are in `datasets/build_davis2017_data.py`; `schema` says what they hold.
"""

# Of the whole video.
VIDEO_ID = 'video_id'
NUM_FRAMES = 'clip/frames'
IMAGE_FORMAT, IMAGE_CHANNELS = 'image/format', 'image/channels'
IMAGE_HEIGHT, IMAGE_WIDTH = 'image/height', 'image/width'
MASK_FORMAT = 'segmentation/object/format'
MASK_HEIGHT, MASK_WIDTH = 'segmentation/object/height', 'segmentation/object/width'
# Of every frame.
IMAGES, MASKS = 'image/encoded', 'segmentation/object/encoded'
# Added, of the whole video. Where there are OBJECT_IDS, masks hold ids, and 255 is void.
OBJECT_IDS, FIRST_FRAMES = 'segmentation/object/ids', 'segmentation/object/first_frames'
PALETTE, FRAME_NAMES = 'segmentation/object/palette', 'clip/frame_names'
