"""Published models in the child: built from the classes of their libraries, without weights."""
