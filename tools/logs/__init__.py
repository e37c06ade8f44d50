"""What a Caffe log says: lines to events, events to a result, and what people do with it."""
