"""From 2D keypoints of one person to 3D."""
