"""The table: the sample, any other one, and what a request must look like to become a row of it."""
