"""What is in Caffe's files: schema, text in and out, upgrades, layer types, lint."""
