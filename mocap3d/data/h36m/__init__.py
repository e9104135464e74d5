"""Human3.6M in all common layouts; `load.load_h36m` recognises the layout from the files."""
