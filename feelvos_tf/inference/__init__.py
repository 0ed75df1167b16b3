"""From frames to masks: the graph functions, the segmenter, several views of a frame."""
