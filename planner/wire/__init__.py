"""What parent and child say to each other: jobs, traces, and the records inside them."""
