"""How a caffe is run: checked before, watched meanwhile, recorded after."""
