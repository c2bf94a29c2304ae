"""The xView2 score and the evaluators for detectron2."""
