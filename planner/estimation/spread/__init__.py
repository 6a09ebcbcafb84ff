"""Ways to use several GPUs: enumerated, compared by arithmetic, and the best of them run."""
