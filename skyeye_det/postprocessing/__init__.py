"""From instances to pixels: rasterising, run lengths, and the files of a submission. Free of torch."""
