"""What the leading scheduler does with jobs: plans, looks after and ends them."""
