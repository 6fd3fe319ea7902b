"""What the model is shown and asked, and how its answer is read: one file for each way of asking."""
