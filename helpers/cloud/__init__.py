"""Other people's machines: EC2, and a doctor for URLs that do not answer."""
