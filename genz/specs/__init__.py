"""What is described: chips, platforms, engines, precisions, models, workloads; and where they are found."""
