"""Many runs that differ, as one study: its file, its runs, where they run, its results."""
