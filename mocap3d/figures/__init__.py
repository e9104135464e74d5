"""Interactive figures of poses, cameras, errors and training. Left is orange, right is blue, the middle is grey."""
