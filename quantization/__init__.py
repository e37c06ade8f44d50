"""How many bits the weights of each layer get, within a budget of bytes."""
