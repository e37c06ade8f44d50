"""Running caffe, a real one or ours, as a process whose log is read as it is written."""
