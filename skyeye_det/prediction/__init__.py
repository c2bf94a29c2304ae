"""What models saw in a window: arrays, views, merging of views, the store."""
