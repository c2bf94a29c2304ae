"""From predictions to buildings: the rule, grades, painting, outlines."""
