"""Caffe's files, byte by byte: prototxt, caffemodel, solver state, LMDB, images, lists."""
