"""Human3.6M in whatever layout people have it; `load.load_h36m` tells the layouts apart by looking at the files."""
