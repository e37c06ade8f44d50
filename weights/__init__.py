"""Which arrays a net has, under which names: statistics, matching, mapping between nets."""
