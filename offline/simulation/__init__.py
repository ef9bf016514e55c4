"""What `offline.simulate` is made of: head, sources, neural courses, BOLD, and files."""
