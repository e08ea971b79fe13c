"""What comes out of training: weights, and programs that are served, compared with the module that was trained."""
