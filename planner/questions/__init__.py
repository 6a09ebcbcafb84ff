"""The questions that planner answers: one module each, named after the public function."""
