"""Results as pictures: the only place that imports matplotlib, and only when asked for one."""
