"""What runs on the nodes: files that import nothing of ours and travel with each job."""
