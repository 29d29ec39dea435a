"""The pages of the explorer: one file and one template for each."""
