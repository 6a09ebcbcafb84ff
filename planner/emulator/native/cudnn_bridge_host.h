/* What bridge_driver.c borrows from the C library of the main link namespace (see there for why).
 * pthread_key_t is an unsigned int on Linux. */
#pragma once

struct planner_bridge_host {
  int (*key_create)(unsigned*, void (*)(void*));
  int (*key_delete)(unsigned);
  void* (*get_specific)(unsigned);
  int (*set_specific)(unsigned, const void*);
};

/* The name under which bridge_driver.c exports the function that takes the record above. */
#define PLANNER_BRIDGE_ADOPT "planner_bridge_adopt"
