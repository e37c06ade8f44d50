"""What a log of Caffe says, and whether it holds."""
