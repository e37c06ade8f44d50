"""sqgen: generate, read, check and compare Caffe nets of the SqueezeNet family."""

__version__ = "0.1.0"
