"""Other people's machines: EC2, Lambda and SageMaker, and a doctor for URLs that do not answer."""
