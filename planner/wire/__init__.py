"""The messages between parent and child: jobs, traces, and the records inside them."""
