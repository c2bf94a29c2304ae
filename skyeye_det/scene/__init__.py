"""A scene before and a scene after a disaster: rasters on one grid, and buildings as a GIS wants them."""
