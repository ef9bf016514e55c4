"""What `prepare` writes and training reads: one continuous array per run and chain."""
