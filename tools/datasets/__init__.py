"""Datasets as Caffe takes them: made of images, looked at, averaged."""
