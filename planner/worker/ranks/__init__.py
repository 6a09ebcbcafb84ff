"""One rank of a job on several GPUs: its group, its mesh, and its share of the model."""
